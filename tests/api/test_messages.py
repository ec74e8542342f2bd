"""Every error can be said in every language."""

from __future__ import annotations

from string import Formatter

import pytest
from topic_sum.api.messages import EXPECTED, LANGUAGES, MESSAGES, language


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_a_language_has_every_message_with_the_places_of_the_english(lang: str) -> None:
    said = {code: getattr(message, lang) for code, message in MESSAGES.items()}
    assert [code for code, text in said.items() if not text.strip()] == []
    assert {code: places(text) for code, text in said.items()} == {
        code: places(message.en) for code, message in MESSAGES.items()
    }


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_a_language_has_a_word_for_every_kind_of_value(lang: str) -> None:
    assert [kind for kind, said in EXPECTED.items() if not said.get(lang, "").strip()] == []


@pytest.mark.parametrize("lang", sorted(LANGUAGES))
def test_a_language_can_be_asked_for(lang: str) -> None:
    assert language(f"{lang};q=0.9,tlh") == lang
    assert language(f"tlh,{lang}-XX;q=0.1") == lang

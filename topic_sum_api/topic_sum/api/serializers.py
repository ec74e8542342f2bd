"""What a request may say, checked once and named in OpenAPI, and what an answer looks like."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from django.conf import settings
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from topic_sum.api.exceptions import ApiError
from topic_sum.inference.served.text import normalise


@dataclass(frozen=True)
class Item:
    """One text to answer, normalised; `error` where this one of a list cannot be answered."""

    text: str
    title: str
    error: ApiError | None = None


@dataclass(frozen=True)
class Question:
    """A checked request. `single` when it came as `text`, so the answer is no list."""

    items: list[Item]
    single: bool
    max_chars: int | None = None
    variants: int | None = None
    top_k: int | None = None
    explain: bool = False


LEAST_MAX_CHARS, MOST_MAX_CHARS = 30, 5000
USUAL_VARIANTS, MOST_VARIANTS = 3, 5
MOST_TOP_K = 100


def read_question(body: object, options: frozenset[str]) -> Question:
    """`body` as a Question. `options` are the fields this address knows beside text(s) and title(s).

    Raises ApiError naming the first field that is wrong. What is wrong with one text of a list is that
    text's own error.
    """
    if not isinstance(body, dict):
        raise ApiError("not_an_object")
    known = {"text", "title", "texts", "titles"} | options
    for name in body:
        if name not in known:
            # Half a surrogate pair can be asked for and cannot be answered.
            raise ApiError("unknown_field", field=name[:100].encode("utf-8", "replace").decode())
    single = "text" in body
    if single == ("texts" in body):
        raise ApiError("text_or_texts" if single else "required", field="text")
    if single:
        if "titles" in body:
            raise ApiError("text_or_texts", field="titles")
        item = _item(body["text"], body.get("title"), "text", "title")
        if item.error:
            raise item.error
        items = [item]
    else:
        if "title" in body:
            raise ApiError("text_or_texts", field="title")
        items = _items(body["texts"], body.get("titles"))
    return Question(
        items=items,
        single=single,
        max_chars=_integer(body, "max_chars", LEAST_MAX_CHARS, MOST_MAX_CHARS),
        variants=_variants(body),
        top_k=_integer(body, "top_k", 1, MOST_TOP_K),
        explain=_boolean(body, "explain"),
    )


def _items(texts: object, titles: object) -> list[Item]:
    if not isinstance(texts, list):
        raise ApiError("wrong_type", field="texts", expected="list")
    if not texts:
        raise ApiError("empty", field="texts")
    if len(texts) > settings.MAX_TEXTS:
        raise ApiError("too_many", field="texts", most=settings.MAX_TEXTS)
    if titles is None:
        titles = [None] * len(texts)
    if not isinstance(titles, list):
        raise ApiError("wrong_type", field="titles", expected="list")
    if len(titles) != len(texts):
        raise ApiError("titles_do_not_match", field="titles")
    if sum(len(text) for text in texts if isinstance(text, str)) > settings.MAX_TOTAL_CHARS:
        raise ApiError("too_long", field="texts", most=settings.MAX_TOTAL_CHARS)
    return [
        _item(text, title, f"texts[{index}]", f"titles[{index}]")
        for index, (text, title) in enumerate(zip(texts, titles, strict=True))
    ]


def _item(text: object, title: object, text_field: str, title_field: str) -> Item:
    try:
        return Item(_text(text, text_field), _title(title, title_field))
    except ApiError as error:
        return Item("", "", error)


def _text(value: object, field: str) -> str:
    text = _string(value, field, settings.MAX_TEXT_CHARS)
    if not text:
        raise ApiError("empty", field=field)
    if not any(character.isalpha() for character in text):
        raise ApiError("no_words", field=field)
    return text


def _title(value: object, field: str) -> str:
    return "" if value is None else _string(value, field, settings.MAX_TITLE_CHARS)


def _string(value: object, field: str, most: int) -> str:
    if not isinstance(value, str):
        raise ApiError("wrong_type", field=field, expected="string")
    if len(value) > most:
        raise ApiError("too_long", field=field, most=most)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ApiError("bad_characters", field=field)  # half a surrogate pair: no UTF-8 can carry it
    text = normalise(value)
    # The tokenizer reads NFKC, in which one character can be eighteen.
    if len(unicodedata.normalize("NFKC", text)) > most:
        raise ApiError("too_long", field=field, most=most)
    return text


def _integer(body: dict, name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ApiError("wrong_type", field=name, expected="integer")
    if not least <= value <= most:
        raise ApiError("out_of_range", field=name, least=least, most=most)
    return value


def _variants(body: dict) -> int | None:
    """A number, or true for as many as a person likes to choose from."""
    if isinstance(body.get("variants"), bool):
        return USUAL_VARIANTS if body["variants"] else None
    return _integer(body, "variants", 1, MOST_VARIANTS)


def _boolean(body: dict, name: str) -> bool:
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ApiError("wrong_type", field=name, expected="boolean")
    return value


# The same in OpenAPI's words. Only the schema is made from these; requests are read above, where every
# error can name its code.


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1, "maximum": MOST_VARIANTS}, {"type": "boolean"}]}
)
class _NumberOrBoolean(serializers.Field):
    pass


def _request(name: str, *options: str) -> type[serializers.Serializer]:
    every = {
        "text": serializers.CharField(
            required=False, max_length=settings.MAX_TEXT_CHARS, help_text="A news text: this or `texts`."
        ),
        "title": serializers.CharField(
            required=False, allow_null=True, allow_blank=True, max_length=settings.MAX_TITLE_CHARS,
            help_text="Its headline, when there is one: it helps the topic. The summary reads it only "
            "where the model was trained so (summarize.with_title).",
        ),
        "texts": serializers.ListField(
            child=serializers.CharField(), required=False, min_length=1, max_length=settings.MAX_TEXTS,
            help_text=f"Several texts, together at most {settings.MAX_TOTAL_CHARS} characters. "
            "Each gets a result or an error of its own.",
        ),
        "titles": serializers.ListField(
            child=serializers.CharField(allow_null=True, allow_blank=True), required=False, allow_null=True,
            help_text="Their headlines, as many as texts; null where there is none.",
        ),
        "max_chars": serializers.IntegerField(
            required=False, allow_null=True, min_value=LEAST_MAX_CHARS, max_value=MOST_MAX_CHARS,
            help_text="The longest summary wanted. Cut at a sentence, a clause or a word; inside a word only "
            "where not even the first one fits.",
        ),
        "variants": _NumberOrBoolean(
            required=False, allow_null=True,
            help_text=f"How many different summaries to choose from; true means {USUAL_VARIANTS}.",
        ),
        "top_k": serializers.IntegerField(
            required=False, allow_null=True, min_value=1, max_value=MOST_TOP_K,
            help_text="How many scores to answer, best first; all when not given.",
        ),
        "explain": serializers.BooleanField(
            required=False, allow_null=True, help_text="Also the words that spoke most for the topic."
        ),
    }  # fmt: skip
    names = ("text", "title", "texts", "titles", *options)
    return type(name, (serializers.Serializer,), {key: every[key] for key in names})


TOPIC_OPTIONS = frozenset({"top_k", "explain"})
SUMMARY_OPTIONS = frozenset({"max_chars", "variants"})
TopicRequest = _request("TopicRequest", "top_k", "explain")
SummaryRequest = _request("SummaryRequest", "max_chars", "variants")
AnalyzeRequest = _request("AnalyzeRequest", "top_k", "explain", "max_chars", "variants")


class ModelNamed(serializers.Serializer):
    repo = serializers.CharField()
    revision = serializers.CharField(help_text="The commit of the model that answered.")
    dataset_repo = serializers.CharField()
    dataset_revision = serializers.CharField(help_text="The commit of the dataset it was trained on.")


class ErrorBody(serializers.Serializer):
    code = serializers.CharField(help_text="For programs: one of a fixed set.")
    message = serializers.CharField(help_text="For people, in a language of Accept-Language or English.")
    field = serializers.CharField(allow_null=True, help_text="The field of the request that is wrong.")


class ErrorAnswer(serializers.Serializer):
    error = ErrorBody()


class Score(serializers.Serializer):
    topic = serializers.CharField()
    name = serializers.CharField(help_text="Its Russian name.")
    score = serializers.FloatField(help_text="A calibrated probability.")


class ExplainedWord(serializers.Serializer):
    word = serializers.CharField()
    weight = serializers.FloatField(help_text="How far the log-odds of the topic fall without this word.")


class UnsupportedPart(serializers.Serializer):
    text = serializers.CharField()
    kind = serializers.ChoiceField(choices=["name", "number"])
    start = serializers.IntegerField(help_text="Where it begins in the summary, in characters.")
    end = serializers.IntegerField()


class Variant(serializers.Serializer):
    summary = serializers.CharField()
    unsupported = UnsupportedPart(many=True)


class SourceRead(serializers.Serializer):
    chars = serializers.IntegerField(help_text="Characters of the text after normalisation.")
    tokens = serializers.IntegerField(help_text="Tokens the model read.")
    windows = serializers.IntegerField(
        help_text="Parts a long text was read in; their summaries were summarized again."
    )
    cut = serializers.BooleanField(help_text="Whether the end of the text was not read.")


class TopicSourceRead(serializers.Serializer):
    chars = serializers.IntegerField(help_text="Characters of the text after normalisation.")
    read = serializers.IntegerField(help_text="How many of them, from the beginning, decided the topic.")
    words = serializers.IntegerField(
        help_text="Words (of two characters and more) in what was read. The topic is decided by words and "
        "letter sequences: there are no tokens."
    )
    cut = serializers.BooleanField(help_text="Whether the rest was not looked at for the topic.")


_CACHED = {
    "cached": serializers.BooleanField(
        help_text="Whether all of the answer had been computed before: topic and summary, where it has both."
    )
}
_TOPIC_FIELDS = {
    "topic": serializers.CharField(
        allow_null=True, help_text="Null when the text is too short or no topic is clear."
    ),
    "name": serializers.CharField(allow_null=True),
    "reason": serializers.ChoiceField(
        choices=["too_short", "unsure"], allow_null=True, help_text="Why the topic is null."
    ),
    "scores": Score(many=True, help_text="All topics, or the best top_k, best first."),
    "topic_source": TopicSourceRead(),
    "explain": ExplainedWord(many=True, required=False),
}
_SUMMARY_FIELDS = {
    "summary": serializers.CharField(),
    "unsupported": UnsupportedPart(
        many=True, help_text="Names and numbers of the summary that neither text nor title contains."
    ),
    "variants": Variant(
        many=True, required=False, help_text="When asked for: all of them, the summary first."
    ),
    "source": SourceRead(),
}
_END_FIELDS = {"milliseconds": serializers.FloatField(), "model": ModelNamed()}


def _answers(name: str, fields: dict) -> tuple[type[serializers.Serializer], type[serializers.Serializer]]:
    """The schema of an address's answer: to one text, or to several with a result or an error for each."""
    result = type(f"{name}Result", (serializers.Serializer,), dict(fields))
    either = PolymorphicProxySerializer(
        component_name=f"{name}ResultOrError",
        serializers=[result, ErrorAnswer],
        resource_type_field_name=None,
        many=True,
    )
    results = extend_schema_field(either)(type(f"{name}Results", (serializers.ListField,), {}))()
    one = type(f"{name}Answer", (serializers.Serializer,), fields | _END_FIELDS)
    many = type(f"{name}Answers", (serializers.Serializer,), {"results": results} | _END_FIELDS)
    return one, many


TopicAnswer, TopicAnswers = _answers("Topic", _TOPIC_FIELDS | _CACHED)
SummaryAnswer, SummaryAnswers = _answers("Summary", _SUMMARY_FIELDS | _CACHED)
AnalyzeAnswer, AnalyzeAnswers = _answers("Analyze", _TOPIC_FIELDS | _SUMMARY_FIELDS | _CACHED)


class ModelAnswer(ModelNamed):
    requested_revision = serializers.CharField()
    metrics = serializers.DictField()
    topics = serializers.ListField(child=serializers.DictField())
    loaded_at = serializers.DateTimeField()
    from_local_copy = serializers.BooleanField(help_text="True when the Hub could not be asked.")
    trouble = serializers.CharField(
        allow_null=True, help_text="What the Hub or a new revision last failed with."
    )
    limits = serializers.DictField()


class HealthAnswer(serializers.Serializer):
    status = serializers.CharField()
    detail = serializers.CharField(required=False, allow_null=True)

"""Whether a regular expression of a revision could stop the API: it is tried on texts made hard for it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Sequence
from re import _constants as sre
from re import _parser

from .errors import ModelRefused

# Seconds of processor time that one search of a text may take.
_MOST_SECONDS = 0.3
_SAMPLES = "аАaA1 .,-_«("
_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
_CLASSES = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S", sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


class _Slow(Exception):
    pass


def try_masks(where: str, patterns: Sequence[str], longest: int) -> None:
    """Raises ModelRefused for a pattern that takes too long on some text of `longest` characters.

    Call it in the main thread of a process that may be ended. On Windows a search cannot be interrupted:
    there only the end of that process ends it.
    """
    for pattern in patterns:
        mask = compiled(where, pattern)
        for text in dict.fromkeys(_attacks(_parser.parse(pattern), "", min(longest, 100_000))):
            if _too_slow(mask, text):
                raise ModelRefused(
                    f"tasks.json {where} holds {pattern!r}, which takes too long on some texts"
                )


def compiled(where: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ModelRefused(f"tasks.json {where} holds a bad regular expression: {error}") from None


def _too_slow(mask: re.Pattern[str], text: str) -> bool:
    def interrupt(*_: object) -> None:
        raise _Slow

    began = time.process_time()
    if not hasattr(signal, "setitimer"):
        mask.sub(" ", text)
        return time.process_time() - began > _MOST_SECONDS
    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, _MOST_SECONDS)
    try:
        mask.sub(" ", text)
    except _Slow:
        return True
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    return False


def _attacks(tree: object, before: str, longest: int) -> Iterator[str]:
    """For every repetition in `tree`: what comes before it, then what it repeats, many times over."""
    for symbol, value in tree:
        if symbol in _REPEATS:
            body = value[2]
            bodies = {_match(body, pick) for pick in range(4)} | set(_SAMPLES)
            for each in sorted(bodies - {""}):
                pumped = each * (longest // len(each) + 1)
                yield (before + pumped)[: longest - 1] + "\0"
        for inside in _inside(symbol, value):
            yield from _attacks(inside, before, longest)
        before += _match([(symbol, value)], 0)


def _inside(symbol: object, value: object) -> list:
    """The parts of a symbol that are patterns themselves."""
    if symbol is sre.BRANCH:
        return value[1]
    if symbol is sre.GROUPREF_EXISTS:
        return [part for part in value[1:] if part is not None]
    if symbol in (*_REPEATS, sre.SUBPATTERN, sre.ASSERT, sre.ASSERT_NOT):
        return [value[-1]]
    return [value] if symbol is sre.ATOMIC_GROUP else []


def _match(tree: object, pick: int) -> str:
    """A short text that `tree` matches, of several the one numbered `pick`."""
    made = ""
    for symbol, value in tree:
        if symbol is sre.LITERAL:
            made += chr(value)
        elif symbol is sre.NOT_LITERAL:
            made += next(sample for sample in _SAMPLES if ord(sample) != value)
        elif symbol is sre.ANY:
            made += _SAMPLES[pick]
        elif symbol is sre.IN:
            made += _one_of(value, pick)
        elif symbol in _REPEATS:
            made += _match(value[2], pick) * min(max(value[0], 1), 50)
        elif symbol in (sre.BRANCH, sre.SUBPATTERN, sre.ATOMIC_GROUP, sre.GROUPREF_EXISTS):
            parts = _inside(symbol, value)
            made += _match(parts[pick % len(parts)], pick)
        if len(made) > 1000:
            break
    return made[:1000]


def _one_of(members: list, pick: int) -> str:
    """A character of the class [members]."""
    named = [chr(value if symbol is sre.LITERAL else value[0]) for symbol, value in members
             if symbol in (sre.LITERAL, sre.RANGE)]  # fmt: skip
    negated = members[0][0] is sre.NEGATE
    fitting = [] if negated else named
    fitting += [char for char in _SAMPLES if _belongs(char, members) != negated]
    return fitting[pick % len(fitting)] if fitting else ""


def _belongs(char: str, members: list) -> bool:
    for symbol, value in members:
        if symbol is sre.LITERAL and ord(char) == value:
            return True
        if symbol is sre.RANGE and value[0] <= ord(char) <= value[1]:
            return True
        if symbol is sre.CATEGORY and re.match(_CLASSES.get(value, r"\w"), char):
            return True
    return False

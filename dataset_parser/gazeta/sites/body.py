"""The body of a page as it came: in which charset it is, and whether it is whole.

Everything here is pure, and its work is linear in the size of the page.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter

_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]{0,300}?charset|\?xml\b[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w.:-]{2,30})""", re.I
)
_OLD_CHARSETS = ("cp1251", "koi8-r", "cp866")
_SMALL = re.compile("[а-яё]")
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")  # half a character, as careless encoders write it
_REMARKS = (
    ("<!--", "-->", re.compile(r"<!--.*?-->", re.S)),
    ("<script", "</script", re.compile(r"<script\b.*?</script", re.S | re.I)),
    ("<style", "</style", re.compile(r"<style\b.*?</style", re.S | re.I)),
)
_OPENED = re.compile(r"<(article|div|section|main|span|table|ul|ol|h[1-6])\b(?:[^<>]*[^<>/])?>", re.I)
_CLOSED = re.compile(r"</(article|div|section|main|span|table|ul|ol|h[1-6])\s*>", re.I)
_HEADER_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]{2,30})""", re.I)


def decode(body: bytes, content_type: str = "") -> str:
    """The page as text: by its byte order, as UTF-8, by the charset of the header, then of the page, then
    by its letters.

    Valid UTF-8 with letters outside ASCII wins over a single-byte charset that is declared: Russian text
    in windows-1251 is never valid UTF-8, and a wrong header is common. A page that says it is UTF-8 and is
    not says nothing of its charset.
    """
    body = _SURROGATE.sub(b"", body)
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return body.decode("utf-16", "replace")
    if (low := body[:200].lstrip(b" \r\n\0")[:2] == b"<\0") or b"\0<\0" in body[:200]:
        return body.decode("utf-16-le" if low and not body.startswith(b"\0") else "utf-16-be", "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    header = _HEADER_CHARSET.search(content_type)
    inside = _CHARSET.search(body[:8192])
    for name in (header and header[1], inside and inside[1].decode("ascii")):
        if not name:
            continue
        try:
            codec = codecs.lookup(name).name
        except LookupError:
            continue
        if codec.startswith(("cp", "iso8859", "koi8", "mac")):
            return body.decode("cp1251" if codec == "iso8859-1" else codec, "replace")
        break
    guess = body.decode("utf-8", "replace")
    # Broken bytes, or a block in another charset, do not make a UTF-8 page another one: of a page that is not
    # UTF-8 hardly any letter survives.
    high = body.translate(None, bytes(range(128)))
    survived = len(guess) - guess.count("\ufffd") - (len(body) - len(high))
    if survived * 4 > len(high):
        return guess
    # Most letters of a text are small ones; in the wrong charset they come out as capitals or lines.
    return body.decode(max(_OLD_CHARSETS, key=lambda name: _small_letters(high, name)), "replace")


def _small_letters(body: bytes, charset: str) -> int:
    return len(_SMALL.findall(body.decode(charset, "replace")))


def ends_inside(text: str) -> bool:
    """Whether a page ends inside a script, a comment or an element that has to be closed: it was cut.

    A page that closes its body is whole, however its elements are nested; the end tags of html, body and p
    may be left out. An empty page, or one without elements, ends nowhere.
    """
    tail = text[-2000:].lower()
    if "</html" in tail or "</body" in tail:
        return False
    for begins, ends, whole in _REMARKS:
        lower = text.lower()
        if lower.rfind(begins) > lower.rfind(ends):
            return True  # so that each one that begins has an end, and is searched for once
        text = whole.sub(" ", text)
    if re.search(r"<[a-z/][^<>]*\Z", text, re.I):
        return True
    opened = Counter(name.lower() for name in _OPENED.findall(text))
    closed = Counter(name.lower() for name in _CLOSED.findall(text))
    return any(opened[name] > closed[name] for name in opened)

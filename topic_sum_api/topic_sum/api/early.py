"""What can be refused by the head of a request, before a byte of its body is kept."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from rest_framework.exceptions import AuthenticationFailed

from topic_sum.api.access import ApiKeyAuthentication
from topic_sum.api.throttles import RateLimit, caller


def body_wanted(head: bytes, address: str) -> bool:
    """Whether a view would read the body: not for an address that takes none, a wrong key, or a caller who is
    over the limit. If it says no, the view says why."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    named: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        named.setdefault(name.strip().lower(), []).append(value.strip())
    if any(len(named.get(name, [])) > 1 for name in ("authorization", "x-forwarded-for")):
        return True  # the parser knows what two of them mean
    if not _takes_body(method, rest.rpartition(" ")[0]):
        return False
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = address
    for name in ("authorization", "x-forwarded-for"):
        request.META[f"HTTP_{name.upper().replace('-', '_')}"] = "".join(named.get(name, []))
    try:
        found = ApiKeyAuthentication().authenticate(request)
    except AuthenticationFailed:
        return False
    if settings.API_KEYS and found is None:
        return False
    return not RateLimit.over(caller(request, found[0] if found else None))


def _takes_body(method: str, target: str) -> bool:
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = urlsplit(path).path
    try:
        view = resolve(unquote_to_bytes(path).decode("utf-8", "replace")).func
    except Resolver404:
        return False
    return method == "POST" and hasattr(getattr(view, "view_class", view), "post")

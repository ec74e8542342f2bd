"""Who may use the API: everybody, or the holders of API_KEYS."""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request


@dataclass(frozen=True)
class Key:
    """The caller's key, identified by a hash prefix."""

    id: str
    is_authenticated: bool = True


@functools.lru_cache(maxsize=4)
def hashes(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    """SHA-256 of every configured key. Keys are long and random, so a slow hash would not protect better."""
    return tuple(
        bytes.fromhex(key.removeprefix("sha256:"))
        if key.startswith("sha256:")
        else hashlib.sha256(key.encode()).digest()
        for key in keys
    )


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY`. Without API_KEYS no key is needed."""

    def authenticate(self, request: Request) -> tuple[Key, None] | None:
        if not settings.API_KEYS:
            return None
        scheme, _, key = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            return None
        digest = hashlib.sha256(key.strip()).digest()
        # Every hash is compared, each in constant time: the time it takes says nothing about the keys.
        found = [hmac.compare_digest(digest, known) for known in hashes(tuple(settings.API_KEYS))]
        if not any(found):
            raise AuthenticationFailed
        return Key(digest.hex()[:12]), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class KeyHolder(BasePermission):
    """Only holders of a key, if there are keys."""

    def has_permission(self, request: Request, view: object) -> bool:
        return not settings.API_KEYS or isinstance(request.user, Key)


def client_address(request: HttpRequest) -> str:
    """The address of the client behind NUM_PROXIES trusted proxies.

    An IPv6 client is identified by its /64 network: one household has that many addresses.
    """
    address = request.META.get("REMOTE_ADDR", "")
    if settings.NUM_PROXIES:
        hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
        if len(hops) >= settings.NUM_PROXIES:
            address = hops[-settings.NUM_PROXIES]
    return network_of(address)


def network_of(address: str) -> str:
    """The address of an IPv4 client, the /64 network of an IPv6 client."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    # A dual-stack socket gives an IPv4 client as ::ffff:1.2.3.4; all of these would be one /64.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.version == 6:
        return str(ipaddress.ip_network(f"{parsed}/64", strict=False).network_address)
    return str(parsed)

"""Who calls, and what they may do."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from agent.store.store import Store
from agent.store.tokens import TokenOwner, has_tokens, hash_token, owner_of

_RANK = {"viewer": 1, "operator": 2, "approver": 3}
_CACHE_S = 5.0
_MAX_CACHED = 10_000
_MAX_CACHED_HOSTS = 256

LOCAL = TokenOwner(name="local", role="approver")
"""Whoever reaches a server on loopback that has no tokens."""


def may(owner: TokenOwner, role: str) -> bool:
    """Roles are ordered: an approver may do what an operator may, and so on."""
    return _RANK.get(owner.role, 0) >= _RANK[role]


@lru_cache(_MAX_CACHED_HOSTS)
def is_loopback(host: str) -> bool:
    """Whether a name or address is this machine's own and nobody else's."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(_MAX_CACHED_HOSTS)
def host_in(url: str) -> str:
    """The name or address in a URL, in small letters; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class Doorkeeper:
    """Turns a bearer token into its owner; answers are kept for a few seconds, so a revoked token dies soon."""

    def __init__(
        self, store: Store, *, tokens_are_needed: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._are_needed = tokens_are_needed
        self._monotonic = monotonic
        self._cache: dict[str, tuple[float, TokenOwner | None]] = {}

    def owner(self, authorization: str) -> TokenOwner | None:
        """None for a missing, wrong, expired or revoked token."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        # Hashed, since a wrong token may be as long as a header.
        key = hash_token(token)
        known = self._cache.get(key)
        if known is not None and self._monotonic() - known[0] < _CACHE_S:
            return known[1]
        owner = self._look_up(token)
        if len(self._cache) >= _MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (self._monotonic(), owner)
        return owner

    def _look_up(self, token: str) -> TokenOwner | None:
        if token:
            now_us = int(self._store.clock() * 1e6)
            return self._store.read(lambda connection: owner_of(connection, token, now_us=now_us))
        if self._are_needed or self._store.read(has_tokens):
            return None
        return LOCAL


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class RateLimiter:
    """A token bucket for each caller."""

    def __init__(self, *, per_s: float, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    def allows(self, caller: str) -> bool:
        now_s = self._monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= _MAX_CACHED:
                self._buckets.clear()
            bucket = self._buckets[caller] = _Bucket(float(self._burst), now_s)
        bucket.tokens = min(self._burst, bucket.tokens + (now_s - bucket.filled_s) * self._per_s)
        bucket.filled_s = now_s
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

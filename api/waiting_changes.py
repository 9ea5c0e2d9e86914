"""Changes that were described to callers and wait for their word; once decided, what came of them."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.chat.answer import Pending
from api.errors import refuse

LIFETIME_S = 600.0
_MOST_WAITING = 64
"""Of one caller; the oldest goes first."""


@dataclass(slots=True, kw_only=True)
class WaitingChange:
    """A change that was described to one caller; whoever decides it holds the session."""

    owner: str
    role: str
    """The caller's, when it was described."""
    session: str
    pending: Pending
    binding: str
    expires_s: float = 0.0
    is_agreed: bool | None = None
    """None until it is decided."""
    told: dict[str, Any] | None = None
    """What came of it, for a caller who asks again."""


class WaitingChanges:
    """Found by their ids, each by its owner alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, WaitingChange] = OrderedDict()

    def add(self, change: WaitingChange) -> str:
        """The id under which it is found."""
        pending_id, now_s = secrets.token_hex(8), self._clock()
        change.expires_s = now_s + LIFETIME_S
        with self._lock:
            for key in [key for key, known in self._known.items() if known.expires_s < now_s]:
                del self._known[key]
            own = [key for key, known in self._known.items() if known.owner == change.owner]
            for key in own[: max(0, len(own) + 1 - _MOST_WAITING)]:
                del self._known[key]
            self._known[pending_id] = change
        return pending_id

    def find(self, owner: str, pending_id: str) -> WaitingChange:
        """The caller's own change, decided or not; raises RequestRefused (404)."""
        with self._lock:
            change = self._known.get(pending_id)
        if change is None or change.owner != owner or change.expires_s < self._clock():
            raise refuse(404, f"pending_id {pending_id!r} is unknown, was dropped, or has expired")
        return change

    def settle(self, change: WaitingChange, told: dict[str, Any], *, is_agreed: bool) -> None:
        """Note the word and what came of it, for another lifetime."""
        change.told, change.is_agreed = told, is_agreed
        change.expires_s = self._clock() + LIFETIME_S

    def drop(self, pending_id: str) -> None:
        """It can't be done any more."""
        with self._lock:
            self._known.pop(pending_id, None)

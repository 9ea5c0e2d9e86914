"""The goals that each policy was planned with: only those are heeded once it is dispatched, however late that is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from agent.goal import Goal
from agent.policy import SchedulingPolicy
from agent.store.policies import find_policy
from agent.store.store import Store
from api.goal_book import GoalBook

_MOST_KNOWN = 200
"""Policies; those before are judged as after a restart, by when they were kept."""


class PlannedGoals:
    """Remembered by the policy's content, since a proposal that nobody kept leaves its version to the next one."""

    def __init__(self, store: Store, book: GoalBook) -> None:
        self._store = store
        self._book = book
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Goal, ...]] = {}

    def note(self, content_hash: str, goals: Sequence[Goal]) -> None:
        """The policy with this hash was planned with these."""
        with self._lock:
            self._known.pop(content_hash, None)
            self._known[content_hash] = tuple(goals)
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def note_version(self, version: int, goals: Sequence[Goal]) -> None:
        """The kept policy of this version was planned with these."""
        stored = self._store.read(partial(find_policy, version=version))
        if stored is not None:
            self.note(stored.content_hash, goals)

    def of(self, policy: SchedulingPolicy) -> tuple[Goal, ...]:
        """What the policy heeds; a policy that nobody has seen before was written with all that are live."""
        known = self._known.get(policy.content_hash())
        if known is not None:
            return known
        stored = self._store.read(partial(find_policy, version=policy.version))
        return tuple(
            goal.goal
            for goal in self._book.stored()
            if goal.goal is not None and (stored is None or goal.updated_us < stored.created_us)
        )

"""The goals that each policy was planned with: only those are heeded once it is dispatched, however late that is."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TypeVar

from agent.goal import Goal
from agent.policy import SchedulingPolicy
from agent.store.planned_goals import find_planned_goals, goal_digest, save_planned_goals
from agent.store.policies import StoredPolicy, find_policy
from agent.store.store import Store
from api.goal_book import GoalBook

_MOST_KNOWN = 200
"""Policies in memory; those before are looked up in the store."""
_ROLLBACK = "rollback"
"""The planner's name on a policy that only brings an earlier state back."""

Name = TypeVar("Name", str, int)
_Goals = tuple[Goal, ...]


class PlannedGoals:
    """Remembered by the policy's content, since a proposal that nobody kept leaves its version to the next one.

    What was kept or dispatched is remembered by its version too, also after a restart.
    """

    def __init__(self, store: Store, book: GoalBook) -> None:
        self._store = store
        self._book = book
        self._lock = threading.Lock()
        self._by_content: dict[str, _Goals] = {}
        self._by_version: dict[int, _Goals] = {}
        self._latest: tuple[_Goals, tuple[str, ...]] = ((), ())
        """Goals that were noted last, and their digests: most versions are planned with the same ones."""

    def note(self, content_hash: str, goals: Sequence[Goal]) -> None:
        """The policy with this hash was planned with these."""
        with self._lock:
            _remember(self._by_content, content_hash, tuple(goals))

    def note_version(self, version: int, goals: Sequence[Goal]) -> None:
        """The policy that was kept or dispatched under this version was planned with these."""
        with self._lock:
            _remember(self._by_version, version, tuple(goals))
            if self._latest[0] != tuple(goals):
                self._latest = (tuple(goals), tuple(map(goal_digest, goals)))
            digests = self._latest[1]
        self._store.submit(lambda transaction: save_planned_goals(transaction, version, digests))

    def note_withdrawn(self, version: int) -> None:
        """The dispatch of this version was withdrawn: the network heeds what it did before."""
        stored = self._find(version)
        self.note_version(version, () if stored is None else self.of_version(stored.policy.parent_version))

    def of(self, policy: SchedulingPolicy) -> _Goals:
        """What the policy heeds; a policy that nobody has seen before was written with all that are live."""
        known = self._by_content.get(policy.content_hash())
        if known is None:
            known = self.known_of_version(policy.version)
        return self._put_before(self._find(policy.version)) if known is None else known

    def of_version(self, version: int) -> _Goals:
        """What the network heeds right after a version that was dispatched, or withdrawn while it was."""
        known = self.known_of_version(version)
        if known is not None:
            return known
        stored = self._find(version)
        # Nothing was noted of it, and what it went back to is not told: then no goal can be called heeded.
        return () if stored is None or stored.policy.planner == _ROLLBACK else self._put_before(stored)

    def known_of_version(self, version: int) -> _Goals | None:
        """The same; None where nobody noted it."""
        known = () if version == 0 else self._by_version.get(version)
        if known is not None:
            return known
        digests = self._store.read(partial(find_planned_goals, version=version))
        if digests is None:
            return None
        return tuple(goal for goal in self._wanted() if goal_digest(goal) in digests)

    def _find(self, version: int) -> StoredPolicy | None:
        return self._store.read(partial(find_policy, version=version))

    def _put_before(self, stored: StoredPolicy | None) -> _Goals:
        """Goals that are as they were when the policy was kept; all of them where it was not."""
        return tuple(
            goal.goal
            for goal in self._book.stored()
            if goal.goal is not None and (stored is None or goal.updated_us < stored.created_us)
        )

    def _wanted(self) -> Iterable[Goal]:
        return (stored.goal for stored in self._book.stored() if stored.goal is not None)


def _remember(known: dict[Name, _Goals], name: Name, goals: _Goals) -> None:
    known.pop(name, None)
    known[name] = goals
    while len(known) > _MOST_KNOWN:
        del known[next(iter(known))]

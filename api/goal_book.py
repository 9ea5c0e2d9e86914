"""The goals that are wanted now: kept in the store, held in memory for reading, with their enforcement status."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from agent.dispatch.port import TargetState
from agent.goal import Goal
from agent.store.goals import Check, StoredGoal, delete_goal, list_goals, put_goal, set_goal_status
from agent.store.store import Store

ENFORCED = "ENFORCED"
NOT_ENFORCED = "NOT_ENFORCED"
OTHER_REASON = "OTHER_REASON"
_WAITS = "waits for the dispatch of a policy that was planned with it"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """A goal whose enforcement changed."""

    goal: StoredGoal
    """As it is now."""


class GoalBook:
    """Writes are durable before they are visible; reads never touch the store.

    Where goals meet, the higher priority wins, and of two with equal priority the one that was put later.
    A policy over A1-P has priority 0.
    """

    def __init__(self, store: Store, on_change: Callable[[StatusChange], None] | None = None) -> None:
        self._store = store
        self._on_change = on_change
        self._lock = threading.Lock()
        self.now_s = 0.0
        """Network time, by which goals expire; told after every interval."""
        self._goals = {stored.key: stored for stored in store.read(list_goals)}
        self._shortfalls: Mapping[Key, str] = {}
        self._unsettled: frozenset[int] = frozenset()
        """Cells that were not settled and online at the last refresh."""
        self._version = 0
        """In force, as far as this book was told."""
        self._enforced_revision: dict[Key, int] = {
            key: stored.revision for key, stored in self._goals.items() if stored.status == ENFORCED
        }
        """Revisions that what is in force was planned with."""

    def find(self, policy_type: str, goal_id: str) -> StoredGoal | None:
        return self._goals.get((policy_type, goal_id))

    def detail(self, key: Key) -> str:
        """Why a goal is not enforced; empty where it is, may soon be, or can never be."""
        stored = self._goals.get(key)
        if stored is None or stored.goal is None:
            return ""
        if stored.goal.is_expired(self.now_s):
            return f"expired at {stored.goal.valid_until_s:.10g} s of the network's time, it is {self.now_s:.10g} s"
        if self._enforced_revision.get(key) != stored.revision:
            return _WAITS
        held_up = self._held_up(stored.goal)
        waits = f"waits for cell {', '.join(map(str, sorted(held_up)))} to confirm its policy" if held_up else ""
        return self._shortfalls.get(key, waits)

    def of_type(self, policy_type: str) -> list[StoredGoal]:
        """In the order in which they were created."""
        return sorted(
            (stored for stored in list(self._goals.values()) if stored.policy_type == policy_type),
            key=lambda stored: (stored.created_us, stored.id),
        )

    def __len__(self) -> int:
        return len(self._goals)

    def live(self) -> tuple[tuple[Key, int, Goal], ...]:
        """What planners are to heed, the later last."""
        known = sorted(self.unexpired(), key=lambda stored: (stored.updated_us, stored.key))
        return tuple((stored.key, stored.revision, stored.goal) for stored in known if stored.goal is not None)

    def live_goals(self) -> tuple[Goal, ...]:
        """The same, without where they came from."""
        return tuple(goal for _, _, goal in self.live())

    async def put(self, wanted: StoredGoal, *, actor: str, check: Check | None = None) -> tuple[StoredGoal, bool]:
        """Create or replace; the same again is answered from what is kept.

        A goal that says what it said before keeps its status. A status that becomes another is told like any change,
        and so is that of a new goal that can't be heeded at all.
        """
        known = self._goals.get(wanted.key)
        if known is not None and _is_same(known, wanted):
            return known, False
        kept, is_new = await self._store.write_async(
            lambda transaction: put_goal(transaction, wanted, actor=actor, check=check)
        )
        shown, is_news = self._take_in(kept)
        if (shown.status, shown.reason) != (kept.status, kept.reason):
            self._keep_status(shown)
        if is_news:
            self._tell(StatusChange(goal=shown))
        return shown, is_new

    async def delete(self, policy_type: str, goal_id: str, *, actor: str, check: Check | None = None) -> bool:
        is_gone = await self._store.write_async(
            lambda transaction: delete_goal(transaction, policy_type, goal_id, actor=actor, check=check)
        )
        with self._lock:
            self._goals.pop((policy_type, goal_id), None)
            self._enforced_revision.pop((policy_type, goal_id), None)
        return is_gone

    def planned(self, goals: Iterable[Goal], *, version: int) -> None:
        """This version is in force, and was planned with these goals and no others.

        Said of a version before the one in force it comes too late.
        """
        heeded = frozenset(goals)
        with self._lock:
            if version < self._version:
                return
            self._version = version
            self._enforced_revision = {
                key: stored.revision for key, stored in self._goals.items() if stored.goal in heeded
            }

    def stored(self) -> tuple[StoredGoal, ...]:
        """All of them."""
        return tuple(self._goals.values())

    def unexpired(self) -> tuple[StoredGoal, ...]:
        """Those that ask for something still."""
        return tuple(
            stored for stored in self.stored() if stored.goal is None or not stored.goal.is_expired(self.now_s)
        )

    def note_shortfalls(self, shortfalls: Mapping[Key, str]) -> None:
        """Goals that can't be met as things are, and why; takes effect with the next refresh."""
        self._shortfalls = dict(shortfalls)

    def refresh(self, states: tuple[TargetState, ...]) -> tuple[StatusChange, ...]:
        """Work out every goal's status from what the targets report; keeps and tells what changed."""
        changes: list[StatusChange] = []
        with self._lock:
            self._unsettled = frozenset(state.cell for state in states if not (state.is_settled and state.is_online))
            for stored in self._goals.values():
                status, reason = self._status(stored)
                if (status, reason) != (stored.status, stored.reason):
                    changes.append(StatusChange(goal=replace(stored, status=status, reason=reason)))
            for change in changes:
                self._goals[change.goal.key] = change.goal
        for change in changes:
            self._keep_status(change.goal)
            self._tell(change)
        return tuple(changes)

    def _take_in(self, kept: StoredGoal) -> tuple[StoredGoal, bool]:
        """What is shown of a goal that was put, and whether its status is another than before."""
        with self._lock:
            before = self._goals.get(kept.key)
            if before is None:
                self._goals[kept.key] = kept
                return kept, kept.goal is None
            if before.revision >= kept.revision and before.created_us >= kept.created_us:
                return kept, False
            if kept.goal is not None and before.created_us == kept.created_us and before.says_same_as(kept):
                # From here: the store may hold the status of a moment ago.
                kept = replace(kept, status=before.status, reason=before.reason)
                if self._enforced_revision.get(kept.key) == before.revision:
                    self._enforced_revision[kept.key] = kept.revision
            self._goals[kept.key] = kept
            return kept, (before.status, before.reason) != (kept.status, kept.reason)

    def _status(self, stored: StoredGoal) -> tuple[str, str]:
        if stored.goal is None:
            return NOT_ENFORCED, stored.reason or OTHER_REASON
        if stored.goal.is_expired(self.now_s):
            return NOT_ENFORCED, OTHER_REASON
        if self._enforced_revision.get(stored.key) != stored.revision:
            return NOT_ENFORCED, OTHER_REASON
        if stored.key in self._shortfalls:
            return NOT_ENFORCED, OTHER_REASON
        return (NOT_ENFORCED, OTHER_REASON) if self._held_up(stored.goal) else (ENFORCED, "")

    def _held_up(self, goal: Goal) -> frozenset[int]:
        """Cells that the goal is for and that have not settled."""
        if any(not expectation.cells for expectation in goal.expectations):
            return self._unsettled
        return self._unsettled.intersection(cell for wanted in goal.expectations for cell in wanted.cells)

    def _tell(self, change: StatusChange) -> None:
        if self._on_change is not None:
            self._on_change(change)

    def _keep_status(self, goal: StoredGoal) -> None:
        self._store.submit(lambda transaction: set_goal_status(transaction, goal, actor="loop"))


def _is_same(known: StoredGoal, wanted: StoredGoal) -> bool:
    return known.notification_destination == wanted.notification_destination and known.says_same_as(wanted)

"""How what a person said yes to is carried out: by a room's own gate, or by the server that looks after the network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from agent.dispatch.port import DispatchOutcome
from agent.gate.gate import Examination, Gate
from agent.goal import Goal
from agent.policy import SchedulingPolicy
from agent.store.goals import OPERATOR_TYPE, StoredGoal, delete_goal, list_goals, put_goal
from agent.store.store import Store

LIVE_S = 900.0
"""Network time for which a proposal can be applied, and wall-clock time for which an approval can be used."""
_ACTOR = "chat"


class Changes(Protocol):
    """Everything that a control room changes goes through one of these."""

    @property
    def approver(self) -> str:
        """Whose name stands on an approval."""
        ...

    def refusal(self, tool: str, *, is_approved: bool) -> str:
        """Why this caller may not use the tool, on a policy that is or isn't approved; empty where they may."""
        ...

    def goals(self) -> tuple[Goal, ...]:
        """The goals that planning heeds, in the order in which they came."""
        ...

    def own_goals(self) -> tuple[Goal, ...]:
        """Those of them that operators set, and may clear."""
        ...

    def asked(self, goal: Goal) -> str:
        """What one that came over A1-P asks for in its own numbers; empty for an operator's."""
        ...

    def keep(self, policy: SchedulingPolicy, *, goals: tuple[Goal, ...]) -> None:
        """Note a proposal and the goals that it was planned with, where others are to find it."""
        ...

    def hold(self, policy: SchedulingPolicy, *, now_s: float) -> Examination:
        """Keep the policy as awaiting approval; raises PolicyRejected or PolicyInvalid."""
        ...

    def approve(self, policy: SchedulingPolicy, *, now_s: float, approver: str, reason: str) -> str:
        """Grant an approval of this very content; the approval's id. Raises PolicyRejected or PolicyInvalid."""
        ...

    def reject(self, version: int) -> None:
        """A person's no to what awaits approval."""
        ...

    def submit(self, policy: SchedulingPolicy, *, now_s: float) -> DispatchOutcome:
        """Through the gate, which uses the approval up."""
        ...

    def roll_back(self, to_version: int, *, now_s: float) -> DispatchOutcome:
        """Back to what an earlier version left."""
        ...

    def put_goal(self, goal: Goal) -> None:
        """Set or replace."""
        ...

    def delete_goals(self, ids: Sequence[str]) -> None:
        """Withdraw."""
        ...


class GatedChanges:
    """The changes of whoever sits at this machine: through the room's own gate and store."""

    def __init__(self, gate: Gate, store: Store) -> None:
        self._gate = gate
        self._store = store

    @property
    def approver(self) -> str:
        return "operator"

    def refusal(self, tool: str, *, is_approved: bool) -> str:
        del tool, is_approved
        return ""

    def goals(self) -> tuple[Goal, ...]:
        """Also those that came over A1-P, where the store mirrors a server's."""
        return tuple(stored.goal for stored in self._store.read(list_goals) if stored.goal is not None)

    def own_goals(self) -> tuple[Goal, ...]:
        kept = self._store.read(partial(list_goals, policy_type=OPERATOR_TYPE))
        return tuple(stored.goal for stored in kept if stored.goal is not None)

    def asked(self, goal: Goal) -> str:
        """A mirrored server's policies are not copied, only what they mean."""
        del goal
        return ""

    def keep(self, policy: SchedulingPolicy, *, goals: tuple[Goal, ...]) -> None:
        """Nobody else is there to find it."""
        del policy, goals

    def hold(self, policy: SchedulingPolicy, *, now_s: float) -> Examination:
        return self._gate.hold(policy, now_s=now_s, actor=_ACTOR)

    def approve(self, policy: SchedulingPolicy, *, now_s: float, approver: str, reason: str) -> str:
        return self._gate.approve(
            policy.version,
            policy_hash=policy.content_hash(),
            now_s=now_s,
            approver=approver,
            reason=reason,
            lifetime_s=LIVE_S,
        ).id

    def reject(self, version: int) -> None:
        self._gate.reject(version, actor=_ACTOR, reason="rejected in the chat")

    def submit(self, policy: SchedulingPolicy, *, now_s: float) -> DispatchOutcome:
        return self._gate.submit(policy, now_s=now_s, actor=_ACTOR)

    def roll_back(self, to_version: int, *, now_s: float) -> DispatchOutcome:
        return self._gate.rollback(
            to_version,
            now_s=now_s,
            lifetime_s=LIVE_S,
            actor=_ACTOR,
            reason="rolled back in the chat",
            # Whoever sits at this machine is an approver.
            despite_kill=True,
        )

    def put_goal(self, goal: Goal) -> None:
        wanted = StoredGoal(policy_type=OPERATOR_TYPE, id=goal.id, document=goal.model_dump_json(), goal=goal)
        self._store.write(lambda transaction: put_goal(transaction, wanted, actor=_ACTOR))

    def delete_goals(self, ids: Sequence[str]) -> None:
        for goal_id in ids:
            self._store.write(lambda t, key=goal_id: delete_goal(t, OPERATOR_TYPE, key, actor=_ACTOR))  # type: ignore[misc]

"""The network that this server looks after, as a control room for one caller: their role bounds what they change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.cell_plan import CellPlan
from agent.changes import LIVE_S
from agent.control_room import ControlRoom
from agent.dispatch.port import DispatchOutcome
from agent.errors import AgentError, PolicyRejected, StoreFull
from agent.gate.gate import Examination
from agent.gate.risk import Mode
from agent.goal import Goal, GoalTerms
from agent.planner import Decision
from agent.policy import SchedulingPolicy
from agent.store.goals import OPERATOR_TYPE, StoredGoal
from agent.store.tokens import TokenOwner
from api.goal_book import NOT_ENFORCED, OTHER_REASON
from api.operations import Operations
from api.security import may
from api.slice_sla import POLICY_TYPE_ID, SliceSlaTarget, describe_target
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology

_MOST_CELL_INTERVALS = 2000
"""Digests that a new room reads of the past."""
_ROLES = {
    "request_approval": "operator",
    "approve_plan": "approver",
    "reject_plan": "approver",
    "apply_plan": "approver",
    "roll_back": "operator",
    "set_goal": "operator",
    "clear_goals": "operator",
}
"""As in the REST routes that do the same; what has been approved already may be applied by an operator."""

_Past = tuple[tuple[EdgeDigest, ...], int]
"""An interval's digests, and the version in force during it."""


@dataclass(slots=True)
class ServedNetwork:
    """The server's own digests, interval by interval; a telemetry source and an edge at once."""

    operations: Operations
    version: int = 0
    """In force during the interval that was looked at last."""
    _unseen: deque[_Past] = field(default_factory=deque)
    _seen: tuple[EdgeDigest, ...] = ()
    """The latest interval that was taken up."""

    @property
    def topology(self) -> Topology:
        return self.operations.topology

    def catch_up(self) -> int:
        """Take up what has come since; how many intervals that is."""
        fresh: list[_Past] = []
        for digests, version in reversed(tuple(self.operations.history)):
            if digests is self._seen:
                break
            fresh.insert(0, (digests, version))
        most = max(1, _MOST_CELL_INTERVALS // max(1, len(self.topology.cells)))
        for digests, version in fresh:
            # Not by whether time goes on: an edge's clock may be ahead for a while. The loop may see a digest twice.
            if _ends_s(digests) != _ends_s(self._seen):
                self._unseen.append((digests, version))
            self._seen = digests
        while len(self._unseen) > most:
            self._unseen.popleft()
        return len(self._unseen)

    def next_interval(self, duration_s: float) -> Telemetry | None:
        """An empty stretch for each interval that was taken up, else None."""
        del duration_s
        return Telemetry(frames=()) if self._unseen else None

    def digest(self, frames: Sequence[TelemetryFrame], logs: Sequence[LogRecord]) -> tuple[EdgeDigest, ...]:
        del frames, logs
        digests, self.version = self._unseen.popleft()
        return digests


@dataclass(frozen=True, slots=True)
class ServedPlanner:
    """The loop's own planner, one question at a time."""

    operations: Operations
    caller: TokenOwner

    @property
    def name(self) -> str:
        return self.operations.planner_name

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        if not may(self.caller, "operator"):
            raise PolicyRejected(f"role operator is needed to plan, the token has {self.caller.role}")
        return self.operations.decide(tuple(digests), tuple(terms))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedChanges:
    """Through the running loop's gate, in the caller's name; every one is held to the caller's role."""

    operations: Operations
    caller: TokenOwner
    max_goals: int

    @property
    def approver(self) -> str:
        return self.caller.name

    def refusal(self, tool: str, *, is_approved: bool) -> str:
        needed = "operator" if tool == "apply_plan" and is_approved else _ROLES[tool]
        if tool == "roll_back" and self.operations.gate.stops().is_killed:
            needed = "approver"
        if may(self.caller, needed):
            return ""
        return f"role {needed} is needed to {tool.replace('_', ' ')}, the token has {self.caller.role}"

    def goals(self) -> tuple[Goal, ...]:
        """Those that came over A1-P included."""
        return self.operations.goals.live_goals()

    def own_goals(self) -> tuple[Goal, ...]:
        """Expired ones included, so that they can be withdrawn."""
        own = self.operations.goals.of_type(OPERATOR_TYPE)
        return tuple(stored.goal for stored in own if stored.goal is not None)

    def asked(self, goal: Goal) -> str:
        for stored in self.operations.goals.of_type(POLICY_TYPE_ID):
            if stored.goal == goal:
                return describe_target(SliceSlaTarget.model_validate_json(stored.document))
        return ""

    def keep(self, policy: SchedulingPolicy, *, goals: tuple[Goal, ...]) -> None:
        self._require("request_approval")
        self.operations.keep(policy, actor=self.caller.name, goals=goals)

    def hold(self, policy: SchedulingPolicy, *, now_s: float) -> Examination:
        del now_s
        self._require("request_approval")
        try:
            return self.operations.hold(policy, actor=self.caller.name)
        except PolicyRejected as error:
            raise self._told(error) from error

    def approve(self, policy: SchedulingPolicy, *, now_s: float, approver: str, reason: str) -> str:
        del now_s, approver
        self._require("approve_plan")
        return self.operations.approve(
            policy.version,
            policy_hash=policy.content_hash(),
            approver=self.caller.name,
            reason=reason,
            lifetime_s=LIVE_S,
        )

    def reject(self, version: int) -> None:
        self._require("reject_plan")
        self.operations.gate.reject(version, actor=self.caller.name, reason="rejected in the chat")

    def submit(self, policy: SchedulingPolicy, *, now_s: float) -> DispatchOutcome:
        del now_s
        self._require("apply_plan", is_approved=True)
        try:
            return self.operations.submit(policy, actor=self.caller.name)
        except PolicyRejected as error:
            raise self._told(error) from error

    def roll_back(self, to_version: int, *, now_s: float) -> DispatchOutcome:
        del now_s
        self._require("roll_back")
        return self.operations.rollback(
            to_version,
            actor=self.caller.name,
            reason="rolled back in the chat",
            despite_kill=may(self.caller, "approver"),
        )

    def put_goal(self, goal: Goal) -> None:
        self._require("set_goal")
        book = self.operations.goals
        if book.find(OPERATOR_TYPE, goal.id) is None and len(book) >= self.max_goals:
            raise StoreFull(f"{self.max_goals} goals are kept already; delete some first")
        wanted = StoredGoal(
            policy_type=OPERATOR_TYPE,
            id=goal.id,
            document=goal.model_dump_json(),
            goal=goal,
            status=NOT_ENFORCED,
            reason=OTHER_REASON,
        )
        asyncio.run(book.put(wanted, actor=self.caller.name))

    def delete_goals(self, ids: Sequence[str]) -> None:
        """Operators' own goals; those of A1-P belong to who put them."""
        self._require("clear_goals")

        async def delete() -> None:
            for goal_id in ids:
                await self.operations.goals.delete(OPERATOR_TYPE, goal_id, actor=self.caller.name)

        asyncio.run(delete())

    def _require(self, tool: str, *, is_approved: bool = False) -> None:
        refusal = self.refusal(tool, is_approved=is_approved)
        if refusal:
            raise PolicyRejected(refusal)

    def _told(self, error: PolicyRejected) -> PolicyRejected:
        """With a hint where the loop itself changes the network between a plan and a yes."""
        if self.operations.gate.stops().mode is not Mode.AUTONOMOUS:
            return error
        return type(error)(f"{error}; this server plans by itself (autonomous): set a goal, or let it suggest only")


def open_served_room(
    operations: Operations, caller: TokenOwner, *, is_read_only: bool, max_goals: int = 10_000
) -> ControlRoom:
    """A room on the running loop; raises AgentError before the first interval."""
    network = ServedNetwork(operations)
    room = ControlRoom(
        source=network,
        pipeline=network,
        planner=ServedPlanner(operations, caller),
        gate=operations.gate,
        store=operations.store,
        interval_s=operations.interval_s,
        is_read_only=is_read_only or not may(caller, "operator"),
        catch_up=network.catch_up,
        ran_under=lambda: network.version,
        changes=ServedChanges(operations=operations, caller=caller, max_goals=max_goals),
    )
    room.refresh()
    if not room.intervals:
        raise AgentError("no digest has come in yet; ask again after the first interval")
    return room


def _ends_s(digests: Sequence[EdgeDigest]) -> dict[int, float]:
    """Of each cell's interval."""
    return {digest.cell: digest.end_s for digest in digests}

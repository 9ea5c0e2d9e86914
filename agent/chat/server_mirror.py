"""A running server's network as a control room of our own sees it: digests, goals and policies copied, nothing sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.cell_plan import CellPlan
from agent.chat.server_link import ServerLink, ServerUnreachable
from agent.control_room import ControlRoom, plan_of
from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import AgentError, PolicyRejected
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.goal import Goal, GoalTerms
from agent.planner import CellDecision, Decision, Source
from agent.policy import SchedulingPolicy
from agent.store.goals import OPERATOR_TYPE, StoredGoal, delete_goal, list_goals, put_goal
from agent.store.policies import PolicyStatus, find_policy, save_policy, set_policy_status
from agent.store.store import Store
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology

if TYPE_CHECKING:
    from agent.store.writer import Transaction

_MIRRORED = 8
"""Policies copied, the newest first."""
_ACTOR = "mirror"


class ServerNetwork:
    """The server's topology and its latest digests: a telemetry source and an edge at once."""

    def __init__(self, link: ServerLink) -> None:
        self.link = link
        self.topology = Topology.model_validate(link.get("/v1/topology"))
        self._digests: tuple[EdgeDigest, ...] = ()

    def next_interval(self, duration_s: float) -> Telemetry | None:
        """An empty stretch where the server has other digests than those last seen, else None."""
        del duration_s
        latest = tuple(EdgeDigest.model_validate(row) for row in self.link.get("/v1/digests"))
        # Not by their ends: one edge whose clock is ahead would hide all that comes until then.
        if latest == self._digests:
            return None
        self._digests = latest
        return Telemetry(frames=())

    def digest(self, frames: Sequence[TelemetryFrame], logs: Sequence[LogRecord]) -> tuple[EdgeDigest, ...]:
        """The server's own; the raw rows stay where they are."""
        del frames, logs
        return self._digests


@dataclass(slots=True, kw_only=True)
class ServerPlanner:
    """Asks the server what its planner would do; nothing is kept or submitted there."""

    link: ServerLink
    gate: Gate
    topology: Topology
    name: str = "server"

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del terms, current
        document = self.link.post("/v1/plans", {})
        policy = SchedulingPolicy.model_validate(document["policy"])
        sources: dict[str, str] = document["sources"]
        after = self.gate.desired.after(policy.actions, version=policy.version)
        cells = tuple(
            CellDecision(
                cell=digest.cell,
                plan=plan_of(digest.cell, after, self.topology),
                source=Source(sources.get(str(digest.cell), Source.NONE.value)),
            )
            for digest in digests
        )
        return Decision(planner=str(document["planner"]), cells=cells)


class SilentDispatcher:
    """Sends nothing: the server dispatches, not a chat that looks at it."""

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        raise PolicyRejected(f"version {policy.version}: a chat attached to a server sends nothing itself")

    def reconcile(self) -> DispatchOutcome | None:
        return None

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        del desired
        return DispatchOutcome(policy_version=latest.version, acknowledgements=())

    def states(self) -> tuple[TargetState, ...]:
        return ()


def attach(link: ServerLink, store: Store) -> ControlRoom:
    """A read-only control room on the server's network; raises ServerUnreachable, ServerRefused or AgentError."""
    try:
        network = ServerNetwork(link)
        interval_s = float(link.get("/v1/models")[0]["interval_s"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ServerUnreachable(f"server {link.url} speaks another language: {str(error)[:200]}") from error
    settings = GateSettings(limits=Limits(max_share_step_pct=100, window_s=interval_s))
    gate = Gate(store=store, dispatcher=SilentDispatcher(), topology=network.topology, settings=settings)
    room = ControlRoom(
        source=network,
        pipeline=network,
        planner=ServerPlanner(link=link, gate=gate, topology=network.topology),
        gate=gate,
        store=store,
        interval_s=interval_s,
        is_read_only=True,
        catch_up=lambda: _mirror(link, store, gate),
    )
    room.refresh()
    if not room.intervals:
        raise AgentError(f"server {link.url} has no interval yet; try again after {interval_s:g} s")
    return room


def _mirror(link: ServerLink, store: Store, gate: Gate) -> int:
    """Copy what changed on the server: goals, and the newest policies with their statuses; one interval to look at."""
    rows = link.get("/v1/goals")
    goals = [_as_stored(row) for row in rows if row["goal"] is not None]
    kept = link.get(f"/v1/policies?limit={_MIRRORED}")["items"]
    unknown = {row["version"] for row in kept} - store.read(
        lambda c: {row["version"] for row in kept if find_policy(c, row["version"]) is not None}
    )
    documents = {version: link.get(f"/v1/policies/{version}")["policy"] for version in sorted(unknown)}

    def work(transaction: Transaction) -> None:
        for stored in list_goals(transaction.connection):
            if stored.key not in {goal.key for goal in goals}:
                delete_goal(transaction, *stored.key, actor=_ACTOR)
        for goal in goals:
            put_goal(transaction, goal, actor=_ACTOR)
        for row in sorted(kept, key=lambda row: int(row["version"])):
            _copy_policy(transaction, row, documents.get(row["version"]))

    store.write(work)
    gate.resume()
    return 1


def _as_stored(row: dict[str, Any]) -> StoredGoal:
    goal = Goal.model_validate(row["goal"])
    # What came over A1-P may have the id of an operator's goal.
    kind = row["policy_type"] or OPERATOR_TYPE
    return StoredGoal(policy_type=kind, id=row["id"], document=goal.model_dump_json(), goal=goal)


def _copy_policy(transaction: Transaction, row: dict[str, Any], document: object) -> None:
    status = PolicyStatus(row["status"])
    if document is not None:
        save_policy(transaction, SchedulingPolicy.model_validate(document), status, actor=_ACTOR)
        return
    known = find_policy(transaction.connection, int(row["version"]))
    if known is not None and known.status is not status:
        set_policy_status(transaction, int(row["version"]), status, actor=_ACTOR)

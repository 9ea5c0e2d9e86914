"""A running server's network as a control room of our own sees it: digests, goals and policies copied, nothing sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.cell_plan import CellPlan
from agent.chat.server_link import ServerLink, ServerUnreachable
from agent.chat.server_records import ServerRecords
from agent.control_room import ControlRoom, plan_of
from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import AgentError, PolicyInvalid, PolicyRejected
from agent.gate.gate import Examination, Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Risk, RiskTier
from agent.goal import GoalTerms
from agent.planner import CellDecision, Decision, Source
from agent.policy import SchedulingPolicy
from agent.store.store import Store
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology


class ServerNetwork:
    """The server's topology and its latest digests: a telemetry source and an edge at once."""

    def __init__(self, link: ServerLink) -> None:
        self.link = link
        self.topology = Topology.model_validate(link.get("/v1/topology"))
        self.digests: tuple[EdgeDigest, ...] = ()
        """Of the interval that was looked at last."""

    def next_interval(self, duration_s: float) -> Telemetry | None:
        """An empty stretch where the server has other digests than those last seen, else None."""
        del duration_s
        latest = tuple(EdgeDigest.model_validate(row) for row in self.link.get("/v1/digests"))
        # Not by their ends: one edge whose clock is ahead would hide all that comes until then.
        if latest == self.digests:
            return None
        self.digests = latest
        return Telemetry(frames=())

    def digest(self, frames: Sequence[TelemetryFrame], logs: Sequence[LogRecord]) -> tuple[EdgeDigest, ...]:
        """The server's own; the raw rows stay where they are."""
        del frames, logs
        return self.digests


@dataclass(slots=True, kw_only=True)
class ServerPlanner:
    """Asks the server what its planner would do, and what its gate thinks of that; nothing is kept or submitted."""

    link: ServerLink
    gate: Gate
    topology: Topology
    name: str = "server"
    _examined: dict[str, Examination] = field(default_factory=dict)
    """By the hash of each plan that was asked for."""

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del terms, current
        document = self.link.post("/v1/plans", {})
        policy = SchedulingPolicy.model_validate(document["policy"])
        self._examined[policy.content_hash()] = _examination(document)
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
        return Decision(planner=str(document["planner"]), cells=cells, policy=policy)

    def examine(self, policy: SchedulingPolicy) -> Examination:
        """What the server's gate said of a plan that was asked for here; raises PolicyInvalid for any other."""
        found = self._examined.get(policy.content_hash())
        if found is None:
            raise PolicyInvalid(f"version {policy.version} was not planned in this chat: its server alone can check it")
        return found


class SilentDispatcher:
    """Sends nothing: the server dispatches, not a chat that looks at it."""

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        raise PolicyRejected(f"version {policy.version}: a chat attached to a server sends nothing itself")

    def reconcile(self) -> DispatchOutcome | None:
        return None

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        del desired
        return self.dispatch(latest)

    def states(self) -> tuple[TargetState, ...]:
        return ()

    def newest_version(self) -> int:
        """0: what the server's targets have heard of is the server's to know."""
        return 0


def attach(link: ServerLink, store: Store) -> ControlRoom:
    """A read-only control room on the server's network; raises ServerUnreachable, ServerRefused or AgentError."""
    try:
        network = ServerNetwork(link)
        interval_s = float(link.get("/v1/models")[0]["interval_s"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ServerUnreachable(f"server {link.url} speaks another language: {str(error)[:200]}") from error
    settings = GateSettings(limits=Limits(window_s=interval_s))
    gate = Gate(store=store, dispatcher=SilentDispatcher(), topology=network.topology, settings=settings)
    planner = ServerPlanner(link=link, gate=gate, topology=network.topology)
    records = ServerRecords(link=link, store=store, gate=gate)
    room = ControlRoom(
        source=network,
        pipeline=network,
        planner=planner,
        gate=gate,
        store=store,
        interval_s=interval_s,
        is_read_only=True,
        catch_up=records.copy,
        ran_under=lambda: records.version_during(network.digests),
        examine=planner.examine,
    )
    room.refresh()
    if not room.intervals:
        raise AgentError(f"server {link.url} has no interval yet; try again after {interval_s:g} s")
    return room


def _examination(document: dict[str, Any]) -> Examination:
    """The server's word on the plan of the same document."""
    checks = {str(name): str(said) for name, said in document["checks"].items()}
    failed = next((said for said in checks.values() if said != "ok"), None)
    return Examination(
        checks=checks,
        risk=Risk(tier=RiskTier[str(document["risk"]).upper()], reasons=tuple(document["risk_reasons"])),
        needs_approval=bool(document["needs_approval"]),
        refusal=None if failed is None else PolicyRejected(failed),
    )

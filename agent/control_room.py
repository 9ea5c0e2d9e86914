"""One network under a person's eyes: observe, propose, and change only what that person has confirmed."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Protocol

from agent.cell_plan import OFFLOAD_PCT, CellPlan, SlicePlan, Tier
from agent.changes import LIVE_S, Changes, GatedChanges
from agent.control_loop import TelemetrySource, digest_hash, network_time_s
from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome
from agent.errors import AgentError, ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.drafting import draft
from agent.gate.gate import Examination, Gate
from agent.gate.history import state_as_of
from agent.goal import Goal, GoalTerms, check_goal, resolve_goals
from agent.planner import Decision, Planner
from agent.policy import SchedulingPolicy
from agent.store.approvals import find_live_approval
from agent.store.decisions import DecisionRecord, save_decision
from agent.store.policies import PolicyStatus, find_policy
from agent.store.store import Store
from agent.twin import Twin
from agent.utility import measured_utility
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.records import LogRecord, TelemetryFrame
from telemetry_sim.topology import Topology

_HISTORY = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What one interval showed."""

    digests: tuple[EdgeDigest, ...]
    terms: tuple[GoalTerms, ...]
    utility: tuple[float, ...]
    """Measured worth of each cell's interval."""
    version: int
    """Policy in force during it."""

    @property
    def mean_utility(self) -> float:
        return fmean(self.utility)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A policy that nothing has been done with yet, and where it came from."""

    policy: SchedulingPolicy
    decision: Decision
    decision_id: int
    utility_now: float
    """The twin's word on the policy in force."""
    utility_then: float
    """The twin's word on the proposal."""


class Edge(Protocol):
    """Who turns raw telemetry into digests: our own pipeline, or a server that has done so already."""

    def digest(self, frames: Sequence[TelemetryFrame], logs: Sequence[LogRecord]) -> tuple[EdgeDigest, ...]:
        """One digest per cell."""
        ...


class ControlRoom:
    """Observes a network, plans for it and changes it through the gate; a change needs a person's word that matches."""

    def __init__(
        self,
        *,
        source: TelemetrySource,
        pipeline: Edge,
        planner: Planner,
        gate: Gate,
        store: Store,
        interval_s: float = 10.0,
        is_read_only: bool = False,
        twin: Twin | None = None,
        catch_up: Callable[[], int] | None = None,
        ran_under: Callable[[], int] | None = None,
        examine: Callable[[SchedulingPolicy], Examination] | None = None,
        changes: Changes | None = None,
    ) -> None:
        """What is optional stands for a server that runs the network on by itself.

        `catch_up` counts the intervals to look at, `ran_under` is the version in force during the one just digested,
        and `examine` asks the server's gate where the room has none of its kind.
        """
        self.source = source
        self.planner = planner
        self.gate = gate
        self.store = store
        self.interval_s = interval_s
        self.is_read_only = is_read_only
        self.changes: Changes = changes or GatedChanges(gate, store)
        self.twin = twin or Twin()
        self.intervals: deque[Interval] = deque(maxlen=_HISTORY)
        self.num_observed = 0
        self.proposal: Proposal | None = None
        self._pipeline = pipeline
        self._catch_up = catch_up
        self._ran_under = ran_under
        self._examine = examine
        self._confirmed: set[str] = set()

    @property
    def topology(self) -> Topology:
        return self.source.topology

    @property
    def latest(self) -> Interval:
        """Raises AgentError before the first interval."""
        if not self.intervals:
            raise AgentError("no interval has been observed yet")
        return self.intervals[-1]

    @property
    def now_s(self) -> float:
        return network_time_s(self.latest.digests) if self.intervals else 0.0

    def observe(self, num_intervals: int = 1) -> None:
        """Let the network run on and look; nothing is decided."""
        for _ in range(num_intervals):
            in_force = self.gate.desired.version
            telemetry = self.source.next_interval(self.interval_s)
            if telemetry is None:
                return
            digests = self._pipeline.digest(telemetry.frames, telemetry.logs)
            terms = self.terms(digests)
            utility = tuple(float(measured_utility(d, t)) for d, t in zip(digests, terms, strict=True))
            version = in_force if self._ran_under is None else self._ran_under()
            self.intervals.append(Interval(digests=digests, terms=terms, utility=utility, version=version))
            self.num_observed += 1

    def refresh(self) -> None:
        """Look again where the network runs on by itself; one of our own waits until it is told to."""
        if self._catch_up is not None:
            self.observe(self._catch_up())

    def goals(self) -> tuple[Goal, ...]:
        """The operator's goals, in the order in which they came."""
        return self.changes.goals()

    def terms(self, digests: tuple[EdgeDigest, ...]) -> tuple[GoalTerms, ...]:
        goals = self.goals()
        return tuple(resolve_goals(goals, self.topology, digest) for digest in digests)

    def plan_in_force(self, cell: int) -> CellPlan:
        """What the cell's desired actions amount to."""
        return plan_of(cell, self.gate.desired, self.topology)

    def decide(self, planner: Planner) -> Decision:
        """What a planner would do for the latest interval under the goals of now; nothing is kept."""
        digests = self.latest.digests
        current = [self.plan_in_force(digest.cell) for digest in digests]
        return planner.decide(digests, self.terms(digests), current)

    def propose(self) -> Proposal:
        """A policy for the network as it is now, with its evidence in the store."""
        goals, digests = self.goals(), self.latest.digests
        terms = tuple(resolve_goals(goals, self.topology, digest) for digest in digests)
        decision = self.planner.decide(digests, terms, [self.plan_in_force(digest.cell) for digest in digests])
        policy = decision.policy or draft(
            self.gate, decision, self.topology, terms, now_s=self.now_s, lifetime_s=LIVE_S
        )
        self.changes.keep(policy, goals=goals)
        now, then = self._foresee(policy, digests, terms)
        self.proposal = Proposal(
            policy=policy,
            decision=decision,
            decision_id=self._keep(decision, policy),
            utility_now=now,
            utility_then=then,
        )
        return self.proposal

    def find(self, version: int | None) -> SchedulingPolicy:
        """The proposal, or the stored policy of a version; raises PolicyInvalid."""
        if self.proposal is not None and version in (None, self.proposal.policy.version):
            return self.proposal.policy
        if version is None:
            waiting = self.gate.waiting(self.now_s)
            if waiting is None:
                raise PolicyInvalid("there is no proposal yet; ask for a plan first")
            return waiting
        stored = self.store.read(lambda connection: find_policy(connection, version))
        if stored is None:
            raise PolicyInvalid(f"version {version} is unknown")
        return stored.policy

    def changes_back(self, to_version: int) -> tuple[ControlAction, ...]:
        """What a rollback would send; raises PolicyInvalid for a version that never was in force."""
        earlier = state_as_of(self.store, self.topology, to_version)
        now = self.gate.desired.actions
        return earlier.restoring(target for target, action in now.items() if earlier.actions.get(target) != action)

    def examine(self, policy: SchedulingPolicy) -> Examination:
        """What the gate thinks of it; raises PolicyInvalid where that can't be asked."""
        return self.gate.examine(policy, now_s=self.now_s) if self._examine is None else self._examine(policy)

    def has_approval(self, policy: SchedulingPolicy) -> bool:
        """Whether a live approval of this very policy is there."""
        now_us = int(self.store.clock() * 1e6)
        wanted = policy.content_hash()
        return self.store.read(lambda c: find_live_approval(c, wanted, now_us=now_us)) is not None

    def confirm(self, tool: str, arguments: Mapping[str, object]) -> None:
        """A person has said yes to this call, on seeing what it comes to; serves once. Never called by a tool."""
        self._confirmed.add(self._key(tool, arguments))

    def require_confirmed(self, tool: str, arguments: Mapping[str, object]) -> None:
        """Use the confirmation up; raises PolicyRejected when read-only, ApprovalNeeded where nobody said yes."""
        if self.is_read_only:
            raise PolicyRejected("this session is read-only: nothing is changed")
        key = self._key(tool, arguments)
        if key not in self._confirmed:
            raise ApprovalNeeded(f"{tool.replace('_', ' ')}: a person must confirm it first")
        self._confirmed.discard(key)

    def request_approval(self, policy: SchedulingPolicy) -> Examination:
        """Keep the policy as awaiting approval; raises PolicyRejected where the gate refuses it."""
        if self.is_read_only:
            raise PolicyRejected("this session is read-only: nothing is changed")
        return self.changes.hold(policy, now_s=self.now_s)

    def approve(self, policy: SchedulingPolicy, *, approver: str, reason: str) -> str:
        """Grant an approval bound to the policy's hash; the approval's id."""
        stored = self.store.read(lambda connection: find_policy(connection, policy.version))
        if stored is None or stored.status is not PolicyStatus.AWAITING_APPROVAL:
            self.request_approval(policy)
        return self.changes.approve(policy, now_s=self.now_s, approver=approver, reason=reason)

    def reject(self, policy: SchedulingPolicy) -> None:
        """Drop the proposal; one that others could find is kept as rejected.

        Raises PolicyInvalid where it is past that point.
        """
        stored = self.store.read(lambda connection: find_policy(connection, policy.version))
        if stored is not None:
            self.changes.reject(policy.version)
        if self.proposal is not None and self.proposal.policy == policy:
            self.proposal = None

    def apply(self, policy: SchedulingPolicy) -> DispatchOutcome:
        """Through the gate, which uses the approval up; then watch one interval."""
        outcome = self.changes.submit(policy, now_s=self.now_s)
        if self.proposal is not None and self.proposal.policy == policy:
            self.proposal = None
        self.observe()
        return outcome

    def roll_back(self, to_version: int) -> DispatchOutcome:
        outcome = self.changes.roll_back(to_version, now_s=self.now_s)
        self.proposal = None
        self.observe()
        return outcome

    def set_goal(self, goal: Goal) -> None:
        """Keep a goal; raises GoalInvalid. Plans made before no longer fit."""
        check_goal(goal, self.topology)
        self.changes.put_goal(goal)
        self.proposal = None

    def clear_goals(self) -> int:
        """Remove every operator's goal; returns how many."""
        ids = [goal.id for goal in self.changes.own_goals()]
        self.changes.delete_goals(ids)
        self.proposal = None
        return len(ids)

    def _foresee(
        self, policy: SchedulingPolicy, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]
    ) -> tuple[float, float]:
        """Mean utility in the twin of what is in force, and of what the policy's own actions amount to."""
        before = self.gate.desired
        after = before.after(policy.actions, version=policy.version)
        both = []
        for digest, term in zip(digests, terms, strict=True):
            plans = [plan_of(digest.cell, state, self.topology) for state in (before, after)]
            both.append(self.twin.outlook(digest, term).utilities(plans))
        now, then = (fmean(map(float, worth)) for worth in zip(*both, strict=True))
        return now, then

    def _key(self, tool: str, arguments: Mapping[str, object]) -> str:
        """What a yes is bound to: the call, and the content of the policy that it is about."""
        given = {
            name: float(value) if isinstance(value, int | float) else value
            for name, value in arguments.items()
            if value not in (None, "always")
        }
        content = ""
        if tool in ("approve_plan", "apply_plan", "reject_plan"):
            version = given.pop("version", None)
            content = self.find(int(version) if isinstance(version, float) else None).content_hash()
        state = self.gate.desired.version
        return json.dumps([tool, given, content, state], sort_keys=True, default=str)

    def _keep(self, decision: Decision, policy: SchedulingPolicy) -> int:
        hashes = "".join(digest_hash(digest) for digest in self.latest.digests)
        record = DecisionRecord(
            time_s=self.now_s,
            planner=decision.planner,
            digest_hash=hashlib.sha256(hashes.encode()).hexdigest(),
            policy_version=policy.version,
            raw_answer="\n".join(decided.answer for decided in decision.cells),
            validation={
                str(d.cell): {"source": d.source.value, "repairs": list(d.repairs), "note": d.note}
                for d in decision.cells
            },
            outcome={"state": "proposed"},
            latency_s=decision.elapsed_s,
        )
        return self.store.write(lambda transaction: save_decision(transaction, record, actor="chat"))


def plan_of(cell: int, desired: DesiredState, topology: Topology) -> CellPlan:
    """The plan that a cell's desired actions amount to."""
    actions = desired.of_cell(cell)
    by_slice = {action.slice: action for action in actions if isinstance(action, SliceAction)}
    radio = next((action for action in actions if isinstance(action, CellAction)), CellAction(cell=cell))
    parts = tuple(_slice_plan(by_slice[profile.id]) for profile in topology.slices)
    return CellPlan(cell=cell, slices=parts, tx_power_step_db=radio.tx_power_step_db)


def goal_document(goal: Goal) -> dict[str, object]:
    """A goal as plain JSON values."""
    return dict(goal.model_dump(mode="json"))


def examination_document(found: Examination) -> dict[str, object]:
    """The gate's view as plain JSON values."""
    return {
        "checks": dict(found.checks),
        "risk": found.risk.tier.name.lower(),
        "reasons": list(asdict(found.risk)["reasons"]),
        "refusal": "" if found.refusal is None else str(found.refusal),
    }


def _slice_plan(action: SliceAction) -> SlicePlan:
    offload = (action.offload_device_pct, action.offload_edge_pct, action.offload_cloud_pct)
    return SlicePlan(
        min_pct=action.min_pct,
        scheduler=action.scheduler,
        compute_pct=action.compute_pct,
        tier=next((tier for tier, pct in OFFLOAD_PCT.items() if pct == offload), Tier.EDGE),
        report_interval_s=round(action.report_interval_s),
    )

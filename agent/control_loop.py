"""The closed loop: telemetry, digests, decision, policy, dispatch, and the same again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Protocol

from agent.cell_plan import CellPlan, SlicePlan, largest_remainder
from agent.dispatch.port import Dispatcher, DispatchOutcome
from agent.goal import Goal, GoalTerms, resolve_goals
from agent.planner import CellDecision, Decision, Planner
from agent.policy import ExpectedKpi, SchedulingPolicy
from edge_preprocess.digest import EdgeDigest
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import Telemetry
from telemetry_sim.topology import Topology


class TelemetrySource(Protocol):
    """Where telemetry comes from: a running network or a recording."""

    @property
    def topology(self) -> Topology:
        """The cells and slices that the telemetry is about."""
        ...

    def next_interval(self, duration_s: float) -> Telemetry | None:
        """All that was reported over the next stretch; None at the end of a recording."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One time round the loop."""

    interval: int
    telemetry: Telemetry
    digests: tuple[EdgeDigest, ...]
    terms: tuple[GoalTerms, ...]
    decision: Decision
    policy: SchedulingPolicy | None
    """None when no cell got a plan."""
    outcome: DispatchOutcome | None

    def log_rows(self) -> Iterator[dict[str, object]]:
        """The decision log: one row per cell, without anything that varies between equal runs."""
        for digest, decided in zip(self.digests, self.decision.cells, strict=True):
            yield {
                "interval": self.interval,
                "time_s": digest.end_s,
                "planner": self.decision.planner,
                "cell": decided.cell,
                "digest_sha256": digest_hash(digest),
                "source": decided.source.value,
                "is_valid": decided.is_valid,
                "repairs": list(decided.repairs),
                "prompt": decided.prompt,
                "answer": decided.answer,
                "twin_utility": decided.twin_utility,
                "twin_alternative": decided.twin_alternative,
                "note": decided.note,
                "plan": None if decided.plan is None else plan_document(decided.plan),
                "policy_version": None if self.policy is None else self.policy.version,
                "is_enforced": None if self.outcome is None else self.outcome.is_enforced,
            }


@dataclass(slots=True, kw_only=True)
class ControlLoop:
    """Runs one network with one planner; goals may change between turns."""

    source: TelemetrySource
    pipeline: EdgePipeline
    planner: Planner
    dispatcher: Dispatcher
    interval_s: float = 10.0
    goals: tuple[Goal, ...] = ()
    version: int = 0
    interval: int = 0
    current: dict[int, CellPlan] = field(default_factory=dict)
    """The plan in force in each cell, as acknowledged."""

    def turn(self) -> Turn | None:
        """One interval: observe, decide, dispatch; None when the source has ended."""
        telemetry = self.source.next_interval(self.interval_s)
        if telemetry is None:
            return None
        return self.decide(telemetry, self.pipeline.digest(telemetry.frames, telemetry.logs))

    def decide(self, telemetry: Telemetry, digests: tuple[EdgeDigest, ...]) -> Turn:
        """The second half of a turn, for a source whose digests are read ahead."""
        terms = tuple(resolve_goals(self.goals, self.source.topology, digest) for digest in digests)
        decision = self.planner.decide(digests, terms, [self.plan_in_force(d.cell) for d in digests])
        policy = self._write_policy(decision, digests, terms)
        outcome = None if policy is None else self.dispatcher.dispatch(policy)
        if policy is not None and outcome is not None:
            self._accept(policy, decision, outcome)
        self.interval += 1
        return Turn(
            interval=self.interval - 1,
            telemetry=telemetry,
            digests=digests,
            terms=terms,
            decision=decision,
            policy=policy,
            outcome=outcome,
        )

    def plan_in_force(self, cell: int) -> CellPlan:
        """The cell's acknowledged plan; the uniform split before the first."""
        if cell not in self.current:
            self.current[cell] = initial_plan(cell, len(self.source.topology.slices))
        return self.current[cell]

    def _write_policy(
        self, decision: Decision, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]
    ) -> SchedulingPolicy | None:
        topology = self.source.topology
        actions = decision.actions(topology, terms)
        if not actions:
            return None
        now_s = network_time_s(digests)
        return SchedulingPolicy(
            version=self.version + 1,
            parent_version=self.version,
            planner=decision.planner,
            valid_from_s=now_s,
            valid_until_s=now_s + 2 * self.interval_s,
            actions=actions,
            rationale=decision.reasons,
            expected=tuple(
                kpi
                for decided in decision.cells
                if decided.plan is not None
                for kpi in _expectations(decided, topology)
            ),
        )

    def _accept(self, policy: SchedulingPolicy, decision: Decision, outcome: DispatchOutcome) -> None:
        self.version = policy.version
        applied = {ack.cell for ack in outcome.acknowledgements if ack.applied}
        for decided in decision.cells:
            if decided.plan is not None and decided.cell in applied:
                self.current[decided.cell] = decided.plan


def initial_plan(cell: int, num_slices: int) -> CellPlan:
    """The network's initial state: equal shares."""
    shares = largest_remainder((1.0,) * num_slices, 100)
    return CellPlan(cell=cell, slices=tuple(SlicePlan(min_pct=s, compute_pct=s) for s in shares))


def network_time_s(digests: Sequence[EdgeDigest]) -> float:
    """What time it is in the network that the digests tell of; 0 where there are none.

    The median of their ends, of two in the middle the earlier: no single edge, whose clock may be wrong, moves it.
    """
    return median_low([digest.end_s for digest in digests]) if digests else 0.0


def digest_hash(digest: EdgeDigest) -> str:
    """SHA-256 of the digest's canonical JSON."""
    document = json.dumps(digest.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()


def plan_document(plan: CellPlan) -> dict[str, object]:
    """A plan as plain JSON values."""
    return {
        "slices": [
            {
                "min_pct": part.min_pct,
                "scheduler": part.scheduler.value,
                "compute_pct": part.compute_pct,
                "tier": part.tier.value,
                "report_interval_s": part.report_interval_s,
            }
            for part in plan.slices
        ],
        "tx_power_step_db": plan.tx_power_step_db,
        "reasons": [reason.value for reason in plan.reasons],
    }


def _expectations(decided: CellDecision, topology: Topology) -> tuple[ExpectedKpi, ...]:
    if decided.expected_in_time is None:
        return ()
    return tuple(
        ExpectedKpi(cell=decided.cell, slice=profile.id, in_time_ratio=round(ratio, 4))
        for profile, ratio in zip(topology.slices, decided.expected_in_time, strict=True)
    )

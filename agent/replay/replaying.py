"""A recording gone through: every interval decided, tried in the twin and laid beside the peer's decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from agent.baselines import uniform
from agent.cell_plan import CellPlan
from agent.control_loop import ControlLoop, Turn
from agent.errors import PolicyInvalid
from agent.expert import Expert
from agent.goal import GoalTerms, resolve_goals
from agent.planner import CellDecision
from agent.policy import parse_policy
from agent.prompting import Prompt
from agent.replay.peer import peer_decision_at, peer_plan
from agent.replay.read_ahead import ReadAheadModel
from agent.replay.what_if import WhatIf, is_link_known, try_plan
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest
from edge_preprocess.held_figures import HeldFigures
from telemetry_sim.records import Telemetry, TelemetryFrame
from telemetry_sim.traces import PeerDecision, paced

_PROMPTS_AHEAD = 32

OURS, UNIFORM, PEER = "ours", "uniform", "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReplay:
    """One cell in one interval."""

    interval: int
    digest: EdgeDigest
    decided: CellDecision
    plan: CellPlan
    """In force after the decision: ours, or the one before where nothing was decided."""
    policy_version: int | None
    peer: PeerDecision | None
    """What the recorded controller decided first after this state."""
    num_peer_decisions: int
    """How often it decided before the next state."""
    what_if: dict[str, WhatIf]


@dataclass(slots=True, kw_only=True)
class ReplayResult:
    """A whole replay."""

    cells: list[CellReplay] = field(default_factory=list)
    num_intervals: int = 0
    num_policies: int = 0
    num_policies_valid: int = 0
    """Read back from their JSON and checked against the topology."""
    decision_s: list[float] = field(default_factory=list)
    """Wall time of each interval's decision without the model's."""
    elapsed_s: float = 0.0
    unknown: tuple[str, ...] = ()
    """Figures of the digests that the recording does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Observed:
    telemetry: Telemetry
    digests: tuple[EdgeDigest, ...]
    following: _Observed | None = None
    is_known: bool = False
    """Whether the model's answers come from an earlier run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayer:
    """Goes once through a recording."""

    loop: ControlLoop
    decisions: Sequence[PeerDecision]
    twin: Twin
    model: ReadAheadModel | None = None
    """None for planners without a model."""
    is_model_remote: bool = False
    """A remote model is asked interval by interval, so that one failure costs one interval."""
    pace: float = 0.0
    """1 is real time, 0 as fast as possible."""

    def run(
        self, *, limit: int | None = None, on_interval: Callable[[Telemetry], None] = lambda _: None
    ) -> ReplayResult:
        """Decide every interval, at most `limit`; equal inputs give equal decisions, whatever pace and limit are."""
        result, held = ReplayResult(), HeldFigures()
        began = time.perf_counter()
        ready = islice(_with_following(self._read_ahead(_observe(self.loop))), limit)
        for observed in _at_pace(ready, self.pace):
            held.take(observed.telemetry.frames)
            result.unknown = held.unknown
            self._decide(observed, result)
            on_interval(observed.telemetry)
        result.elapsed_s = time.perf_counter() - began
        return result

    def _read_ahead(self, observed: Iterator[_Observed]) -> Iterator[_Observed]:
        """The same intervals, their prompts answered in batches that do not depend on the limit."""
        num_cells = len(self.loop.source.topology.cells)
        size = 1 if self.is_model_remote else max(1, _PROMPTS_AHEAD // num_cells)
        while batch := tuple(islice(observed, size)):
            if self.model is None:
                yield from batch
                continue
            prompts = [[self._prompt(digest) for digest in one.digests] for one in batch]
            known = [self.model.knows(asked) for asked in prompts]
            self.model.fetch([prompt for asked in prompts for prompt in asked])
            yield from (replace(one, is_known=is_known) for one, is_known in zip(batch, known, strict=True))

    def _prompt(self, digest: EdgeDigest) -> Prompt:
        return Expert(twin=self.twin).foresee(digest, self._terms(digest)).prompt

    def _terms(self, digest: EdgeDigest) -> GoalTerms:
        return resolve_goals(self.loop.goals, self.loop.source.topology, digest)

    def _decide(self, observed: _Observed, result: ReplayResult) -> None:
        turn = self.loop.decide(observed.telemetry, observed.digests)
        result.num_intervals += 1
        result.decision_s.append(turn.decision.elapsed_s)
        if turn.policy is not None:
            result.num_policies += 1
            result.num_policies_valid += self._is_valid(turn)
        peer, num_decisions = self._peer(observed)
        has_hindsight = is_link_known(result.unknown)
        later = observed.following.digests if observed.following is not None and has_hindsight else ()
        for index, decided in enumerate(turn.decision.cells):
            following = later[index] if later else None
            # A recorded controller speaks for one cell; the readers put it first.
            beside = peer if index == 0 else None
            plan = self.loop.plan_in_force(decided.cell)
            digest, terms = turn.digests[index], turn.terms[index]
            plans = {OURS: plan, UNIFORM: uniform(digest, terms)}
            if beside is not None:
                plans[PEER] = peer_plan(beside, decided.cell)
            result.cells.append(
                CellReplay(
                    interval=turn.interval,
                    digest=digest,
                    decided=decided,
                    plan=plan,
                    policy_version=None if turn.policy is None else turn.policy.version,
                    peer=beside,
                    num_peer_decisions=num_decisions if index == 0 else 0,
                    what_if={name: try_plan(one, digest, terms, self.twin, following) for name, one in plans.items()},
                )
            )

    def _is_valid(self, turn: Turn) -> bool:
        if turn.policy is None:
            return False
        try:
            parse_policy(turn.policy.model_dump_json(), self.loop.source.topology)
        except PolicyInvalid:
            return False
        return True

    def _peer(self, observed: _Observed) -> tuple[PeerDecision | None, int]:
        until_s = float("inf") if observed.following is None else observed.following.telemetry.frames[0].time_s
        return peer_decision_at(self.decisions, observed.telemetry.frames[-1].time_s, until_s)


def _observe(loop: ControlLoop) -> Iterator[_Observed]:
    while (telemetry := loop.source.next_interval(loop.interval_s)) is not None:
        yield _Observed(telemetry=telemetry, digests=loop.pipeline.digest(telemetry.frames, telemetry.logs))


def _with_following(observed: Iterable[_Observed]) -> Iterator[_Observed]:
    held: _Observed | None = None
    for one in observed:
        if held is not None:
            yield replace(held, following=one)
        held = one
    if held is not None:
        yield held


def _at_pace(observed: Iterator[_Observed], pace: float) -> Iterator[_Observed]:
    """Each interval not before its recorded time; what an earlier run has decided is not waited for."""
    held: list[_Observed] = []
    fresh: list[_Observed] = []
    for one in observed:
        if not one.is_known:
            fresh.append(one)
            break
        yield one

    def last_frames() -> Iterator[TelemetryFrame]:
        for one in chain(fresh, observed):
            held.append(one)
            yield one.telemetry.frames[-1]

    for _ in paced(last_frames(), pace=pace):
        yield held.pop()

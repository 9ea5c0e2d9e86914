"""The closed loop: versions, and which plan counts as being in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from agent.cell_plan import CellPlan, SlicePlan, to_actions
from agent.control_loop import ControlLoop, Turn, digest_hash, initial_plan, network_time_s, plan_document
from agent.dispatch.in_process import InProcessDispatcher
from agent.goal import GoalTerms
from agent.planner import CellDecision, Decision, FormulaPlanner, KeepPlanner, Planner, Source
from agent.pretraining.examples import random_digest
from edge_preprocess.digest import EdgeDigest
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.actions import Acknowledgement, ControlAction
from telemetry_sim.records import Telemetry
from telemetry_sim.topology import Topology
from tests.acknowledgements import acknowledged
from tests.agent_stage import TOPOLOGY

CELLS = tuple(cell.id for cell in TOPOLOGY.cells)
UNIFORM = (34, 33, 33)


@dataclass(slots=True)
class SilentSource:
    """A network that reports nothing for a number of intervals, then ends."""

    num_left: int = 0
    topology: Topology = TOPOLOGY

    def next_interval(self, duration_s: float) -> Telemetry | None:
        del duration_s
        self.num_left -= 1
        return Telemetry(frames=()) if self.num_left >= 0 else None


@dataclass(slots=True)
class ObedientNetwork:
    """Applies everything, but for the cells that are out of service."""

    out_of_service: set[int] = field(default_factory=set)
    versions: dict[int, int] = field(default_factory=dict)

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        for cell in dict.fromkeys(action.cell for action in actions):
            if cell not in self.out_of_service:
                self.versions[cell] = policy_version
        return acknowledged(actions, policy_version=policy_version, down=self.out_of_service)


@dataclass(slots=True)
class ListeningPlanner:
    """Gives the first slice as many percent as there were decisions before, and remembers what it was told."""

    name: str = "listening"
    told: list[tuple[CellPlan, ...]] = field(default_factory=list)

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del terms
        self.told.append(tuple(current))
        cells = tuple(
            CellDecision(cell=d.cell, plan=plan_of(d.cell, len(self.told)), source=Source.FORMULA) for d in digests
        )
        return Decision(planner=self.name, cells=cells)


def plan_of(cell: int, first_pct: int) -> CellPlan:
    return CellPlan(cell=cell, slices=tuple(SlicePlan(min_pct=pct) for pct in (first_pct, 0, 0)))


def loop_with(planner: Planner, network: ObedientNetwork | None = None, **rest: object) -> ControlLoop:
    return ControlLoop(
        source=SilentSource(),
        pipeline=EdgePipeline(TOPOLOGY),
        planner=planner,
        dispatcher=InProcessDispatcher(network or ObedientNetwork(), TOPOLOGY),
        **rest,
    )


def digests(*cells: int, end_s: float = 10.0) -> tuple[EdgeDigest, ...]:
    made = random_digest(np.random.default_rng(0))
    rows = tuple(made.slices[0].model_copy(update={"slice": profile.id}) for profile in TOPOLOGY.slices)
    return tuple(made.model_copy(update={"cell": cell, "slices": rows, "end_s": end_s}) for cell in cells or CELLS)


def decide(loop: ControlLoop, *cells: int) -> Turn:
    return loop.decide(Telemetry(frames=()), digests(*cells))


def shares(plan: CellPlan) -> tuple[int, ...]:
    return tuple(part.min_pct for part in plan.slices)


def test_each_policy_is_planned_against_the_one_before() -> None:
    loop = loop_with(ListeningPlanner())
    policies = [decide(loop).policy for _ in range(4)]

    assert [(p.version, p.parent_version) for p in policies if p is not None] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert loop.version == 4


def test_a_turn_without_a_plan_dispatches_nothing_and_uses_no_version() -> None:
    loop = loop_with(KeepPlanner())
    turns = [decide(loop) for _ in range(3)]

    assert [turn.interval for turn in turns] == [0, 1, 2]
    assert all(turn.policy is None and turn.outcome is None for turn in turns)
    assert loop.version == 0
    assert {row["policy_version"] for turn in turns for row in turn.log_rows()} == {None}


def test_before_the_first_policy_the_uniform_split_is_in_force() -> None:
    planner = ListeningPlanner()
    decide(loop_with(planner))

    assert [plan.cell for plan in planner.told[0]] == list(CELLS)
    assert all(shares(plan) == UNIFORM for plan in planner.told[0])
    assert planner.told[0] == tuple(initial_plan(cell, 3) for cell in CELLS)


def test_an_acknowledged_plan_is_what_the_next_decision_starts_from() -> None:
    planner = ListeningPlanner()
    loop = loop_with(planner)
    for _ in range(3):
        decide(loop)

    assert [shares(told[0])[0] for told in planner.told] == [UNIFORM[0], 1, 2]
    assert loop.current == {cell: plan_of(cell, 3) for cell in CELLS}


def test_a_cell_out_of_service_keeps_the_plan_it_had() -> None:
    planner, network = ListeningPlanner(), ObedientNetwork()
    loop = loop_with(planner, network)
    decide(loop)
    network.out_of_service = {2}
    refused = decide(loop)
    decide(loop)

    assert refused.outcome is not None
    assert not refused.outcome.is_enforced
    assert [answer.cell for answer in refused.outcome.refusals] == [2]
    assert shares(loop.plan_in_force(1)) == (3, 0, 0)
    assert shares(loop.plan_in_force(2)) == (1, 0, 0)
    assert network.versions == {1: 3, 2: 1, 3: 3}
    assert {row["is_enforced"] for row in refused.log_rows()} == {False}

    network.out_of_service = set()
    decide(loop)
    assert shares(loop.plan_in_force(2)) == (4, 0, 0)
    assert network.versions == {1: 4, 2: 4, 3: 4}


def test_a_cell_that_is_not_decided_about_keeps_the_plan_it_had() -> None:
    network = ObedientNetwork()
    loop = loop_with(ListeningPlanner(), network)
    decide(loop)
    turn = decide(loop, 1)

    assert turn.policy is not None
    assert {action.cell for action in turn.policy.actions} == {1}
    assert [shares(loop.plan_in_force(cell))[0] for cell in CELLS] == [2, 1, 1]
    assert network.versions == {1: 2, 2: 1, 3: 1}


def test_a_policy_holds_for_two_intervals_from_the_network_time() -> None:
    loop = loop_with(ListeningPlanner(), interval_s=5.0)
    mixed = (*digests(1, end_s=40.0), *digests(2, end_s=45.0))
    policy = loop.decide(Telemetry(frames=()), mixed).policy

    assert policy is not None
    assert (policy.valid_from_s, policy.valid_until_s) == (40.0, 50.0)
    assert policy.planner == "listening"


def test_the_policy_says_what_the_plans_say() -> None:
    loop = loop_with(ListeningPlanner())
    turn = decide(loop)

    assert turn.policy is not None
    for cell, terms in zip(CELLS, turn.terms, strict=True):
        assert turn.policy.for_cell(cell) == to_actions(plan_of(cell, 1), TOPOLOGY, terms)


def test_the_loop_ends_with_its_source() -> None:
    loop = loop_with(FormulaPlanner(name="one", formula=lambda digest, _: plan_of(digest.cell, 1)))
    loop.source = SilentSource(num_left=2)
    turns = [loop.turn() for _ in range(4)]

    assert [None if turn is None else turn.interval for turn in turns] == [0, 1, None, None]


def test_a_log_row_names_who_decided_what_about_which_digest() -> None:
    turn = decide(loop_with(ListeningPlanner()))
    rows = list(turn.log_rows())

    assert [row["cell"] for row in rows] == list(CELLS)
    assert {row["source"] for row in rows} == {"formula"}
    assert {row["policy_version"] for row in rows} == {1}
    assert [row["digest_sha256"] for row in rows] == [digest_hash(digest) for digest in turn.digests]
    assert len({row["digest_sha256"] for row in rows}) == len(rows)
    assert [row["plan"] for row in rows] == [plan_document(plan_of(cell, 1)) for cell in CELLS]


@pytest.mark.parametrize("num_slices", range(1, 9))
def test_the_initial_split_is_whole_and_equal_to_a_percent(num_slices: int) -> None:
    plan = initial_plan(1, num_slices)

    assert sum(shares(plan)) == sum(part.compute_pct for part in plan.slices) == 100
    assert max(shares(plan)) - min(shares(plan)) <= 1


@pytest.mark.parametrize(
    ("ends_s", "now_s"),
    [([], 0.0), ([30.0], 30.0), ([20.0, 30.0], 20.0), ([30.0, 9e9, 20.0], 30.0), ([30.0, 9e9, 0.5, 30.0, 20.0], 30.0)],
)
def test_network_time_is_what_most_edges_say(ends_s, now_s):
    digest = EdgePipeline(TOPOLOGY).digest((), ())[0]
    assert network_time_s([digest.model_copy(update={"end_s": end_s}) for end_s in ends_s]) == now_s

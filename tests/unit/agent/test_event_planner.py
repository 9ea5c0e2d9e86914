"""Planning on events: quiet cells keep their policy, and each kind of event asks for another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from agent.baselines import uniform
from agent.cell_plan import CellPlan
from agent.control_loop import initial_plan
from agent.event_planner import EventPlanner, Triggers
from agent.goal import GoalTerms
from agent.planner import CellDecision, Decision, Source
from edge_preprocess.digest import Anomaly, AnomalyKind, EdgeDigest
from telemetry_sim.records import Severity
from tests.agent_stage import random_case

DIGEST, TERMS = random_case(4, num_slices=3)


@dataclass
class Inner:
    """Counts what it is asked."""

    name: str = "inner"
    asked: list[int] = field(default_factory=list)

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        self.asked.append(len(digests))
        cells = (
            CellDecision(cell=digest.cell, plan=uniform(digest, term), source=Source.MODEL)
            for digest, term in zip(digests, terms, strict=True)
        )
        return Decision(planner=self.name, cells=tuple(cells), elapsed_s=0.5)


def later(digest: EdgeDigest, **changed: object) -> EdgeDigest:
    return digest.model_copy(update={"start_s": digest.end_s, "end_s": digest.end_s + 10.0, **changed})


def decide(planner: EventPlanner, digest: EdgeDigest, terms: GoalTerms = TERMS) -> CellDecision:
    (cell,) = planner.decide([digest], [terms], [initial_plan(digest.cell, 3)]).cells
    return cell


def test_a_quiet_cell_is_planned_once_and_then_rests_until_its_plan_is_old():
    planner = EventPlanner(planner=Inner(), triggers=Triggers(longest_rest=4))
    digest, sources = DIGEST, []
    for _ in range(9):
        sources.append(decide(planner, digest).source)
        digest = later(digest)
    rest = [Source.NONE] * 3
    assert sources == [Source.MODEL, *rest, Source.MODEL, *rest, Source.MODEL]
    assert planner.name == "inner_on_events"


def _with_demand(factor: float) -> dict[str, object]:
    rows = tuple(
        row.model_copy(update={"forecast_demand_kbps": row.forecast_demand_kbps * factor}) for row in DIGEST.slices
    )
    return {"slices": rows}


_LATE = {"slices": tuple(row.model_copy(update={"in_time_ratio": 0.2}) for row in DIGEST.slices)}
_ALARM = {
    "anomalies": (
        *DIGEST.anomalies,
        Anomaly(kind=AnomalyKind.RADIO, severity=Severity.MAJOR, score=0.9, evidence="synthetic"),
    )
}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (_with_demand(2.0), "another load"),
        (_LATE, "a missed SLA"),
        (_ALARM, "an anomaly"),
        ({"is_up": not DIGEST.is_up}, "a cell that went or came"),
    ],
)
def test_what_happens_in_a_cell_asks_for_a_plan(changed, reason):
    planner = EventPlanner(planner=Inner())
    decide(planner, DIGEST)
    assert decide(planner, later(DIGEST)).source is Source.NONE
    decided = decide(planner, later(later(DIGEST), **changed))
    assert decided.source is Source.MODEL
    assert reason in decided.note


def test_another_goal_asks_for_a_plan_within_the_interval():
    planner = EventPlanner(planner=Inner())
    decide(planner, DIGEST)
    decided = decide(planner, later(DIGEST), replace(TERMS, weight=TERMS.weight * [1.0, 5.0, 1.0]))
    assert "another goal" in decided.note


def test_small_changes_add_up_until_they_are_an_event():
    planner = EventPlanner(planner=Inner(), triggers=Triggers(longest_rest=100, load_change_pct=20.0))
    digest, num_plans = DIGEST, 0
    for step in range(12):
        changed = _with_demand(1.0 + 0.2 * step)
        num_plans += decide(planner, later(digest, **changed)).source is Source.MODEL
        digest = later(digest)
    assert 1 < num_plans < 12


def test_only_cells_in_which_something_happened_are_asked_about():
    inner = Inner()
    planner = EventPlanner(planner=inner)
    second = DIGEST.model_copy(update={"cell": 2})
    now = [initial_plan(1, 3), initial_plan(2, 3)]
    planner.decide([DIGEST, second], [TERMS, TERMS], now)
    decided = planner.decide([later(DIGEST, **_with_demand(2.0)), later(second)], [TERMS, TERMS], now)
    assert inner.asked == [2, 1]
    assert [cell.source for cell in decided.cells] == [Source.MODEL, Source.NONE]
    assert [cell.cell for cell in decided.cells] == [1, 2]


def test_a_new_episode_begins_with_a_plan():
    planner = EventPlanner(planner=Inner())
    decide(planner, later(later(DIGEST)))
    assert "a first plan" in decide(planner, DIGEST).note

"""The live picture of a run says what a plan takes away."""

from __future__ import annotations

from agent.cell_plan import CellPlan, SlicePlan
from agent.live_view import LiveView
from agent.planner import CellDecision, Source
from edge_preprocess.pipeline import EdgePipeline
from tests.agent_stage import TOPOLOGY

(DIGEST, *_) = EdgePipeline(TOPOLOGY).digest((), ())
FIRST, SECOND = (str(profile.id) for profile in TOPOLOGY.slices[:2])


def told(view: LiveView, *mins: int, expected: tuple[float, ...] | None = None) -> str:
    plan = CellPlan(cell=DIGEST.cell, slices=tuple(SlicePlan(min_pct=pct) for pct in mins))
    decided = CellDecision(cell=DIGEST.cell, plan=plan, source=Source.FORMULA, expected_in_time=expected)
    why = view._why(plan, decided, DIGEST)
    view._plans[DIGEST.cell] = plan
    return why


def test_a_guarantee_that_is_taken_away_is_named_once() -> None:
    view = LiveView(is_quiet=True)
    assert told(view, 50, 30, 20) == "steady"
    assert told(view, 0, 60, 40, expected=(0.98, 0.9, 1.0)) == (
        f"steady; {FIRST} without guarantee, lent what is idle (98 % in time expected)"
    )
    assert told(view, 0, 60, 40) == "steady"
    assert told(view, 10, 0, 90) == f"steady; {SECOND} without guarantee, lent what is idle"


def test_a_pool_is_called_one() -> None:
    view = LiveView(is_quiet=True)
    expected = (0.98, 0.97, 1.0)
    assert told(view, 0, 0, 0, expected=expected) == (
        "steady; all slices without guarantee, one pool (98 97 100 % in time expected)"
    )

"""Where caps on steps shorten a plan, what is told of it is what the shortened one brings."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.chat.opening import open_room
from agent.chat.room_options import RoomOptions
from agent.control_room import ControlRoom, plan_of
from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.planner import FormulaPlanner
from agent.store.store import Store
from agent.tools.finding import percent
from agent.tools.reasoning import describe_policy, explain_decision, propose_plan

STEP_PCT = 10


@pytest.fixture
def room() -> Iterator[ControlRoom]:
    """Its planner wants a pool everywhere; its gate lets no share of 25 % fall below 15 % at once."""
    with Store.open("sqlite://") as store:
        made = open_room(RoomOptions(planner="optimiser", num_devices=40), store)
        pool = tuple(SlicePlan(min_pct=0) for _ in made.topology.slices)
        made.planner = FormulaPlanner(name="pool", formula=lambda digest, _: CellPlan(cell=digest.cell, slices=pool))
        network = made.source.network  # type: ignore[attr-defined]  # a simulated one
        made.gate = Gate(
            store=store,
            dispatcher=InProcessDispatcher(network, made.topology),
            topology=made.topology,
            settings=GateSettings(limits=Limits(max_share_step_pct=STEP_PCT)),
        )
        yield made


def foreseen(room: ControlRoom) -> float:
    """What the twin expects of the proposal's own actions, as told."""
    assert room.proposal is not None
    after = room.gate.desired.after(room.proposal.policy.actions, version=1)
    return percent(
        fmean(
            room.twin.utility(plan_of(digest.cell, after, room.topology), digest, term)
            for digest, term in zip(room.latest.digests, room.latest.terms, strict=True)
        )
    )


def test_the_forecast_of_a_plan_is_of_what_would_be_sent(room: ControlRoom) -> None:
    found = propose_plan(room)
    assert {action.min_pct for action in room.find(None).actions if action.kind == "slice"} == {25 - STEP_PCT}
    assert found.data["utility_then_pct"] == foreseen(room)


def test_the_forecast_beside_the_yes_is_of_what_is_agreed_to(room: ControlRoom) -> None:
    policy = room.propose().policy
    forecast = describe_policy(room, policy)["forecast"]
    assert isinstance(forecast, dict)
    assert forecast["utility_then_pct"] == foreseen(room)


def test_an_explanation_tells_the_shares_that_would_be_sent(room: ControlRoom) -> None:
    found = explain_decision(room)
    cells = found.data["cells"]
    assert isinstance(cells, list)
    shares = {(row["share_now_pct"], row["share_then_pct"]) for cell in cells for row in cell["slices"]}
    assert shares == {(25, 25 - STEP_PCT)}
    assert not any(cell["is_pool"] for cell in cells)
    assert "one pool" not in found.text
    assert percent(fmean(cell["utility_then_pct"] for cell in cells) / 100) == pytest.approx(foreseen(room), abs=0.11)

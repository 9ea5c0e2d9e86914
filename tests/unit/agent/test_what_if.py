"""What-ifs change what was asked about and nothing else, and lose nothing on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.control_room import ControlRoom
from agent.planner import FormulaPlanner
from agent.tools.finding import percent
from agent.tools.what_if import what_if_down, what_if_share
from edge_preprocess.digest import EdgeDigest, SliceDigest

CELL, LOST = 1, 2
NOTHING = {
    "num_devices": 0,
    "demand_kbps": 0.0,
    "served_kbps": 0.0,
    "forecast_demand_kbps": 0.0,
    "forecast_deviation_kbps": 0.0,
    "tasks_per_s": 0.0,
    "forecast_tasks_per_s": 0.0,
    "kbps_per_prb": 0.0,
}


def put_in_force(room: ControlRoom, *mins: int) -> None:
    """Every cell guarantees these percents from now on."""
    slices = tuple(SlicePlan(min_pct=pct) for pct in mins)
    room.planner = FormulaPlanner(name="person", formula=lambda digest, _: CellPlan(cell=digest.cell, slices=slices))
    policy = room.propose().policy
    room.approve(policy, approver="test", reason="test")
    room.apply(policy)


def in_the_twin(room: ControlRoom, *mins: int) -> float:
    """Utility of the cell with these percents, as told."""
    at = next(i for i, digest in enumerate(room.latest.digests) if digest.cell == CELL)
    now = room.plan_in_force(CELL)
    slices = tuple(replace(part, min_pct=pct) for part, pct in zip(now.slices, mins, strict=True))
    plan = replace(now, slices=slices)
    return percent(room.twin.utility(plan, room.latest.digests[at], room.latest.terms[at]))


@pytest.mark.parametrize(
    ("before", "share_pct", "after"),
    [
        ((0, 0, 0, 0), 40, (40, 0, 0, 0)),
        ((25, 25, 25, 25), 10, (10, 25, 25, 25)),
        ((25, 25, 25, 25), 25, (25, 25, 25, 25)),
        ((10, 40, 20, 0), 40, (40, 40, 20, 0)),
    ],
)
def test_another_share_of_one_slice_leaves_the_others_theirs(
    room: ControlRoom, before: tuple[int, ...], share_pct: int, after: tuple[int, ...]
) -> None:
    put_in_force(room, *before)
    found = what_if_share(room, slice=room.topology.slices[0].name, value=share_pct, cell=CELL)
    assert found.data["utility_now_pct"] == in_the_twin(room, *before)
    assert found.data["utility_then_pct"] == in_the_twin(room, *after)
    assert found.data["num_cells_cut"] == 0
    assert ("the other slices keep what they are guaranteed" in found.text) == any(before)
    assert ("one pool serves all slices now; nothing is guaranteed to the others then" in found.text) != any(before)


def test_the_others_are_cut_where_all_would_pass_the_whole_and_this_is_said(room: ControlRoom) -> None:
    put_in_force(room, 10, 40, 20, 0)
    name = room.topology.slices[0].name
    found = what_if_share(room, slice=name, value=70, cell=CELL)
    assert found.data["utility_then_pct"] == in_the_twin(room, 70, 20, 10, 0)
    assert found.text.endswith("- to fit, the other slices' guarantees shrink to 30 % together")
    everywhere = what_if_share(room, slice=name, value=70).text
    assert everywhere.endswith("shrink to 30 % together, in 4 of 4 cells")


def changed(digest: EdgeDigest, row: int, **fields: object) -> EdgeDigest:
    rows = list(digest.slices)
    rows[row] = rows[row].model_copy(update=fields)
    return digest.model_copy(update={"slices": tuple(rows)})


def hear(room: ControlRoom, *digests: EdgeDigest) -> None:
    """The latest interval showed these."""
    room.intervals.append(replace(room.latest, digests=digests))


def alone(room: ControlRoom, row: int, **lost: float) -> tuple[EdgeDigest, ...]:
    """The slice is to be found in the lost cell alone."""
    made = []
    for digest in room.latest.digests:
        fields = {"num_devices": 9, "kbps_per_prb": 300.0, **lost} if digest.cell == LOST else {}
        made.append(changed(digest, row, **NOTHING | fields))
    return tuple(made)


def with_part_of(own: SliceDigest, gone: SliceDigest, num_heirs: int) -> SliceDigest:
    """What an heir is asked for."""
    return own.model_copy(
        update={
            "num_devices": own.num_devices - (-gone.num_devices // num_heirs),
            "demand_kbps": own.demand_kbps + gone.demand_kbps / num_heirs,
            "forecast_demand_kbps": own.forecast_demand_kbps + gone.forecast_demand_kbps / num_heirs,
            "tasks_per_s": own.tasks_per_s + gone.tasks_per_s / num_heirs,
            "forecast_tasks_per_s": own.forecast_tasks_per_s + gone.forecast_tasks_per_s / num_heirs,
            "kbps_per_prb": own.kbps_per_prb or gone.kbps_per_prb,
            "task_megacycles": own.task_megacycles or gone.task_megacycles,
        }
    )


def expected_pct(room: ControlRoom, heirs: list[int]) -> dict[int, float]:
    """What the twin says of each heir with its part of all that the lost cell was asked for."""
    lost = next(digest for digest in room.latest.digests if digest.cell == LOST)
    told = {}
    for digest, term in zip(room.latest.digests, room.latest.terms, strict=True):
        rows = (with_part_of(*both, len(heirs)) for both in zip(digest.slices, lost.slices, strict=True))
        loaded = digest.model_copy(update={"slices": tuple(rows)})
        told[digest.cell] = percent(room.twin.utility(room.plan_in_force(digest.cell), loaded, term))
    return {cell: told[cell] for cell in heirs}


@pytest.mark.parametrize(
    "lost",
    [
        {},
        {"demand_kbps": 2e5, "forecast_demand_kbps": 2e5},
        {"tasks_per_s": 300.0, "forecast_tasks_per_s": 300.0, "task_megacycles": 50.0},
    ],
    ids=["as it is", "bits that no heir had", "tasks that no heir had"],
)
def test_the_heirs_of_a_lost_cell_are_asked_for_all_that_it_was_asked_for(
    room: ControlRoom, lost: dict[str, float]
) -> None:
    if lost:
        hear(room, *alone(room, 0, **lost))
    found = what_if_down(room, cell=LOST)
    heirs, rows = found.data["heirs"], found.data["cells"]
    assert isinstance(heirs, list)
    assert isinstance(rows, list)
    assert {row["cell"]: row["then_pct"] for row in rows if row["cell"] in heirs} == expected_pct(room, heirs)
    assert heirs


def test_heirs_of_a_slice_that_they_did_not_have_are_worse_off_for_it(room: ControlRoom) -> None:
    hear(room, *alone(room, 0, demand_kbps=2e5, forecast_demand_kbps=2e5))
    rows = what_if_down(room, cell=LOST).data["cells"]
    assert isinstance(rows, list)
    assert all(row["then_pct"] < row["now_pct"] - 5 for row in rows)

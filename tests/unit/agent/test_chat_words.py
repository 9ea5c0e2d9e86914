"""Answers in an operator's words: tables, trends, goals, settings, and what a version brought."""

from __future__ import annotations

import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.control_room import ControlRoom
from agent.goal import ContextKind
from agent.planner import FormulaPlanner
from agent.store.decisions import DecisionRecord, save_decision
from agent.tools import acting, looking, reasoning
from agent.tools.change_rows import change_rows
from agent.tools.finding import sparkline
from agent.tools.goal_words import describe_goal
from agent.tools.lost_guarantees import LostGuarantee
from agent.tools.text_table import text_table


def test_columns_of_a_table_stand_under_their_heads() -> None:
    assert text_table(("slice", "in time", "trend"), [("cameras", "9 %", "▁█"), ("v", "100 %", "█")]) == [
        "slice    in time  trend",
        "cameras      9 %  ▁█",
        "v          100 %  █",
    ]


def test_a_trend_shows_no_drama_where_nothing_moves() -> None:
    assert sparkline([99.9, 100.0, 99.8]) == "███"
    assert sparkline([0.0, 50.0, 100.0]) == "▁▄█"
    assert sparkline([]) == ""


def test_a_status_is_a_table_that_marks_what_misses_its_target(room: ControlRoom) -> None:
    room.observe(12)
    lines = looking.network_status(room).text.splitlines()
    heads = next(line for line in lines if "in time" in line)
    rows = lines[lines.index(heads) + 1 : -1]
    missed = {digest["slice"] for digest in looking.network_status(room).data["slices"] if not digest["is_met"]}  # type: ignore[attr-defined]
    assert [row[2:].split()[0] for row in rows] == [profile.name for profile in room.topology.slices]
    assert {row[2:].split()[0] for row in rows if row.startswith("! ")} == missed
    assert all(len(line) < 80 for line in (heads, *rows))


def test_the_first_line_about_a_slice_says_whether_it_meets_its_target(room: ControlRoom) -> None:
    found = looking.network_status(room, slice="cameras", cell=1)
    assert found.text.startswith("Slice cameras in cell 1 m")
    assert "guaranteed to it" in found.text
    digest = next(digest for digest in room.latest.digests if digest.cell == 1)
    assert found.data["num_devices"] == digest.slices[0].num_devices


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "delay_ms", "value": 20, "slice": "vehicles"}, "vehicles within 20 ms"),
        ({"metric": "in_time_pct", "value": 95, "slice": "cameras"}, "cameras in time for at least 95 %"),
        (
            {"metric": "rate_mbps", "value": 2, "slice": "cameras", "cell": 1},
            "cameras at most 2 Mb/s a device in cell 1",
        ),
        ({"metric": "priority_up", "slice": "vehicles"}, "vehicles at 3 times the usual priority"),
        ({"metric": "energy"}, "save energy, at a weight of 0.5 against utility"),
        (
            {"metric": "delay_ms", "value": 9, "slice": "vehicles", "when": ContextKind.CONGESTED},
            "vehicles within 9 ms while it is congested",
        ),
    ],
)
def test_a_goal_is_said_as_an_operator_would(room: ControlRoom, given: dict[str, object], said: str) -> None:
    assert describe_goal(room.topology, acting.resolve_goal(room, **given)) == said  # type: ignore[arg-type]


def test_a_setting_has_a_name_and_a_unit() -> None:
    changes: list[dict[str, object]] = [
        {"cell": 1, "slice": "cameras", "field": "min_pct", "from": 25, "to": 30},
        {"cell": 1, "slice": "cameras", "field": "report_interval_s", "from": 1.0, "to": 2.0},
        {"cell": 1, "slice": None, "field": "sleep", "from": False, "to": True},
        {"cell": 1, "slice": "cameras", "field": "admission_cap", "from": None, "to": 7},
    ]
    assert change_rows(changes) == [
        ("cell 1 cameras", "guaranteed PRBs 25 to 30 %, reports every 1 to 2 s, most devices none to 7"),
        ("cell 1", "sleep False to True"),
    ]


def test_an_explanation_says_that_the_plan_was_made_for_it(room: ControlRoom) -> None:
    assert "just now, since nothing was proposed yet" in reasoning.explain_decision(room).text
    assert "just now" not in reasoning.explain_decision(room).text


def planned(room: ControlRoom, *mins: int) -> None:
    """From now on the planner divides every cell like this, and calls it steady."""
    slices = tuple(SlicePlan(min_pct=pct) for pct in mins)
    room.planner = FormulaPlanner(name="person", formula=lambda digest, _: CellPlan(cell=digest.cell, slices=slices))
    room.proposal = None


def test_a_plan_that_takes_a_guarantee_says_so_and_why_that_is_thought_fine(room: ControlRoom) -> None:
    rest = len(room.topology.slices) - 2
    planned(room, 0, 100 - 10 * rest, *[10] * rest)
    name = room.topology.slices[0].name
    for found in (reasoning.propose_plan(room), reasoning.explain_decision(room, cell=1)):
        lost = found.data["lost_guarantees"][0]  # type: ignore[index]
        wanted = (
            f"cell {lost['cell']} {name} no longer has a guarantee ({lost['share_now_pct']} % before): it is lent what "
            f"others leave idle; {lost['prb_use_pct']:g} % of "
            f"the PRBs are used now, and the twin expects {lost['in_time_then_pct']:g} % of it in time instead of "
            f"{lost['in_time_now_pct']:g} %"
        )
        assert wanted in found.text


def test_a_plan_for_one_pool_says_that_the_pool_serves_all(room: ControlRoom) -> None:
    planned(room, *[0] * len(room.topology.slices))
    text = reasoning.explain_decision(room, cell=1).text
    for profile in room.topology.slices:
        assert f"cell 1 {profile.name} no longer has a guarantee" in text
    assert "one pool serves all slices of the cell" in text


def test_a_plan_that_takes_no_guarantee_speaks_of_none(room: ControlRoom) -> None:
    rest = len(room.topology.slices) - 1
    planned(room, 100 - 10 * rest, *[10] * rest)
    for found in (reasoning.propose_plan(room), reasoning.explain_decision(room)):
        assert "guarantee (" not in found.text
        assert found.data["lost_guarantees"] == []


@pytest.mark.parametrize(
    ("in_time_pct", "utility_pct", "said"),
    [
        ((97.0, 98.0), (80.0, 70.0), "(target 95 %)"),
        ((90.0, 90.0), (80.0, 70.0), "(target 95 %)"),
        ((97.0, 80.0), (70.0, 80.0), "worse for it but better for the cell as a whole: utility 70 % to 80 %"),
        ((97.0, 80.0), (80.0, 80.0), "worse for it and no better for the cell: utility 80 % to 80 %"),
    ],
)
def test_what_is_worse_without_a_guarantee_is_called_worse(in_time_pct, utility_pct, said) -> None:  # type: ignore[no-untyped-def]
    lost = LostGuarantee(
        cell=1,
        slice="cameras",
        share_now_pct=20,
        is_pool=True,
        unguaranteed_pct=100,
        prb_use_pct=40.0,
        in_time_now_pct=in_time_pct[0],
        in_time_then_pct=in_time_pct[1],
        in_time_target_pct=95.0,
        utility_now_pct=utility_pct[0],
        utility_then_pct=utility_pct[1],
    )
    assert lost.told().endswith(said)


def test_the_history_tells_what_each_version_brought(room: ControlRoom) -> None:
    policy = room.propose().policy
    room.approve(policy, approver="test", reason="test")
    room.confirm("apply_plan", {"version": None})
    acting.apply_plan(room)
    room.observe(2)
    found = looking.show_history(room)
    assert [(row["version"], row["num_intervals"]) for row in found.data["by_version"]] == [(1, 3), (0, 3)]  # type: ignore[attr-defined]
    assert "version 0 (as it was): " in found.text
    assert "enforced; " in found.text


def test_the_history_counts_every_decision(room: ControlRoom) -> None:
    record = DecisionRecord(time_s=0.0, planner="optimiser", digest_hash="d" * 64)
    room.store.write(lambda transaction: [save_decision(transaction, record, actor="loop") for _ in range(60)])
    found = looking.show_history(room)
    assert found.data["num_decisions"] == 60
    assert "60 decisions are on record" in found.text


def test_an_incident_is_told_with_its_time(room: ControlRoom) -> None:
    room.observe(6)
    found = looking.search_incidents(room)
    assert found.text.count(" in the interval to ") == len(found.data["incidents"])  # type: ignore[arg-type]

"""The chat's tools on a network whose edge nodes are not all heard yet: a sentence, never a traceback."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.chat.session import ChatSession
from agent.chat.slash import answer_line
from agent.control_room import ControlRoom, Interval
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.tools.finding import Finding
from agent.tools.toolbox import Toolbox

SILENT = 1
NOTHING = Interval(digests=(), terms=(), utility=(), version=0)
EITHER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("network_status", {}),
    ("network_status", {"slice": "video"}),
    ("describe_topology", {}),
    ("show_history", {}),
    ("show_history", {"slice": "video"}),
    ("search_incidents", {}),
    ("explain_decision", {}),
    ("compare_planners", {}),
    ("what_if_demand", {"slice": "video", "value": 2.0}),
    ("what_if_share", {"slice": "video", "value": 20.0}),
)
OF_THE_NETWORK = (
    *EITHER,
    ("find_worst", {}),
    ("find_worst", {"kind": "slice"}),
    ("write_report", {}),
    ("propose_plan", {}),
)
OF_A_CELL = (*EITHER, ("what_if_down", {}))


def without_cell(interval: Interval, cell: int = SILENT) -> Interval:
    kept = [i for i, digest in enumerate(interval.digests) if digest.cell != cell]
    digests, terms, utility = (
        tuple(values[i] for i in kept) for values in (interval.digests, interval.terms, interval.utility)
    )
    return replace(interval, digests=digests, terms=terms, utility=utility)


def hear(room: ControlRoom, *intervals: Interval) -> None:
    """These and no others have been observed."""
    room.intervals.clear()
    room.intervals.extend(intervals)


def call(room: ControlRoom, tool: str, arguments: dict[str, Any]) -> Finding:
    named = arguments if "slice" not in arguments else arguments | {"slice": room.topology.slices[0].name}
    return Toolbox(room).call(tool, named)


@pytest.mark.parametrize(("tool", "arguments"), OF_THE_NETWORK)
def test_intervals_before_the_first_digest_are_passed_over(room: ControlRoom, tool: str, arguments: Any) -> None:
    heard = list(room.intervals)
    wanted = call(room, tool, arguments)
    room.proposal = None
    hear(room, NOTHING, NOTHING, *heard)
    found = call(room, tool, arguments)
    assert found.exit_status == 0
    if tool not in ("propose_plan", "explain_decision"):  # each proposal has a version of its own
        assert found == wanted


@pytest.mark.parametrize(("tool", "arguments"), OF_THE_NETWORK)
def test_before_the_first_digest_every_tool_says_so(room: ControlRoom, tool: str, arguments: Any) -> None:
    hear(room, NOTHING, NOTHING)
    found = call(room, tool, arguments)
    assert (found.exit_status, "no cell has a digest now" in found.text) == (2, True)
    assert room.proposal is None


@pytest.mark.parametrize(("tool", "arguments"), OF_THE_NETWORK)
def test_a_cell_that_is_not_heard_hinders_no_look_at_the_network(room: ControlRoom, tool: str, arguments: Any) -> None:
    hear(room, *map(without_cell, room.intervals))
    assert call(room, tool, arguments).exit_status == 0


@pytest.mark.parametrize(("tool", "arguments"), OF_A_CELL)
def test_a_cell_that_was_never_heard_is_named_with_those_that_are(room: ControlRoom, tool: str, arguments: Any) -> None:
    hear(room, *map(without_cell, room.intervals))
    heard = ", ".join(str(digest.cell) for digest in room.latest.digests)
    found = call(room, tool, arguments | {"cell": SILENT})
    assert found.exit_status == 2
    assert found.text == f"Not done: cell {SILENT} has no digest now; cells with one are {heard}."
    assert room.proposal is None


def test_the_history_of_a_cell_leaves_out_the_intervals_in_which_it_was_silent(room: ControlRoom) -> None:
    first, *rest = room.intervals
    hear(room, without_cell(first), *rest)
    history = call(room, "show_history", {"cell": SILENT})
    status = call(room, "network_status", {"cell": SILENT})
    assert history.data["num_intervals"] == len(rest)
    rows: Any = status.data["slices"]
    assert {len(row["trend_pct"]) for row in rows} == {len(rest)}


def test_a_plan_is_explained_for_the_cells_that_are_still_heard(room: ControlRoom) -> None:
    room.propose()
    hear(room, without_cell(room.latest))
    found = call(room, "explain_decision", {})
    rows: Any = found.data["cells"]
    assert [row["cell"] for row in rows] == [digest.cell for digest in room.latest.digests]


def test_a_plan_from_before_a_cell_was_heard_explains_nothing_of_it(room: ControlRoom) -> None:
    now = room.latest
    hear(room, without_cell(now))
    room.propose()
    hear(room, now)
    found = call(room, "explain_decision", {"cell": SILENT})
    assert found.exit_status == 2
    assert "cell 1 had no digest when version 1 was proposed" in found.text


def test_a_slash_command_about_a_silent_cell_is_told_what_is_missing(room: ControlRoom) -> None:
    hear(room, *map(without_cell, room.intervals))
    session = ChatSession(room, ScriptedChatModel(script=[]))
    for line in (f"/status {SILENT}", f"/history {SILENT}", f"/whatif down {SILENT}", f"/explain {SILENT}"):
        answer = answer_line(session, line)
        assert (answer.exit_status, f"cell {SILENT} has no digest now" in answer.text) == (2, True)


def test_a_change_is_refused_plainly_before_the_first_digest(room: ControlRoom) -> None:
    policy = room.propose().policy
    room.request_approval(policy)
    hear(room, NOTHING)
    session = ChatSession(room, ScriptedChatModel(script=[]), decide=lambda _: True)
    answer = answer_line(session, "/apply 1")
    assert (answer.exit_status, "no cell has a digest now" in answer.text) == (2, True)
    assert room.gate.desired.version == 0
    assert not room.has_approval(policy)

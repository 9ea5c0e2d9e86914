"""A server's network as a control room: which version each of its past intervals is credited to."""

from __future__ import annotations

import pytest

from agent.control_room import ControlRoom
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.store.tokens import TokenOwner
from agent.tools.looking import show_history
from api.served_room import open_served_room
from tests.api_stage import Stage

AUTONOMOUS, SUGGEST_ONLY = Stops(mode=Mode.AUTONOMOUS), Stops(mode=Mode.SUGGEST_ONLY)


def opened(stage: Stage) -> ControlRoom:
    return open_served_room(stage.operations, TokenOwner(name="ann", role="admin"), is_read_only=True)


def credited(room: ControlRoom) -> list[int]:
    return [interval.version for interval in room.intervals]


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """Its loop has dispatched a version after each of three intervals, and none since."""
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    for _ in range(3):
        stage.operations.turn()
    stage.gate.set_stops(SUGGEST_ONLY, actor="ann")
    return stage


def test_intervals_of_before_the_room_was_opened_keep_their_versions(stage: Stage) -> None:
    stage.operations.turn()
    room = opened(stage)
    assert credited(room) == [0, 1, 2, 3]
    by_version = show_history(room).data["by_version"]
    assert [(row["version"], row["num_intervals"]) for row in by_version] == [(3, 1), (2, 1), (1, 1), (0, 1)]  # type: ignore[attr-defined]


def test_an_interval_after_which_the_loop_dispatched_is_not_credited_to_what_came_of_it(stage: Stage) -> None:
    room = opened(stage)
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    stage.operations.turn()
    room.refresh()
    assert stage.gate.desired.version == 4
    assert room.latest.version == 3


def test_an_interval_is_credited_to_what_it_ran_under_after_a_rollback_that_nobody_looked_after(stage: Stage) -> None:
    room = opened(stage)
    stage.operations.turn()
    stage.operations.rollback(0, actor="ann", reason="test")
    stage.operations.turn()
    room.refresh()
    assert credited(room) == [0, 1, 2, 3, stage.gate.desired.version]

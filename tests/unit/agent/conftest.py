"""What several tests of the agent begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.chat.opening import open_room
from agent.chat.room_options import RoomOptions
from agent.control_room import ControlRoom
from agent.store.store import Store


@pytest.fixture
def room() -> Iterator[ControlRoom]:
    """A small network's control room with a store of its own."""
    with Store.open("sqlite://") as store:
        yield open_room(RoomOptions(planner="optimiser", num_devices=40), store)

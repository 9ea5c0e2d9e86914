"""What the terminal offers to complete, before and after the network is there."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from agent.chat.slash import COMMANDS
from agent.chat.talk import OwnTalk
from agent.chat.terminal import _completions, _Flow, _Opening
from tests.agent_stage import TOPOLOGY


@pytest.fixture
def opened() -> _Opening:
    return _Opening(talk=OwnTalk(SimpleNamespace(room=SimpleNamespace(topology=TOPOLOGY))))


def test_commands_come_first(opened: _Opening) -> None:
    assert set(_completions(_Opening(), "/s")) == {*COMMANDS, "/exit"}
    assert _completions(opened, "/s") == _completions(_Opening(), "/s")


def test_a_commands_own_words_are_known_before_the_network_is(opened: _Opening) -> None:
    assert _completions(_Opening(), "/whatif ") == ["down", "demand", "share"]
    assert _completions(_Opening(), "how is ") == []
    assert _completions(opened, "/whatif ") == ["down", "demand", "share", "video", "control", "meters", "1", "2", "3"]


def test_cells_and_slices_complete_a_sentence(opened: _Opening) -> None:
    assert _completions(opened, "how is ") == ["video", "control", "meters", "1", "2", "3"]


def test_streamed_words_are_never_broken_and_blanks_are_kept() -> None:
    shown = io.StringIO()
    flow = _Flow(Console(file=shown, width=20))
    for piece in ("Cell ", "2 ", "is ", "worst: ", "utility ", "87.4 ", "%.\n", "!  cameras   ", "69.3 ", "%"):
        flow.write(piece)
    assert shown.getvalue() == "Cell 2 is worst: \nutility 87.4 %.\n!  cameras   69.3 %"
    assert "\n" not in flow.text.partition("%.")[0]

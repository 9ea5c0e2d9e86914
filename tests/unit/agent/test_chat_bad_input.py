"""What a new user may well type at the chat: a sentence comes back, and the talk goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.chat.opening import pick_chat_model
from agent.chat.room_options import RoomOptions
from agent.chat.server_link import ServerLink
from agent.chat.session import ChatSession
from agent.chat.session_network import with_own_network
from agent.chat.slash import answer_line
from agent.chat.terminal import _Opening, _prompt
from agent.control_room import ControlRoom
from agent.errors import AgentInputInvalid, ModelUnavailable
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.tools.acting import resolve_goal
from tests.agent_stage import TOPOLOGY


@pytest.mark.parametrize("command", ["/diff", "/approve", "/apply", "/reject", "/rollback"])
def test_a_version_beyond_any_number_is_bad_usage(room: ControlRoom, command: str) -> None:
    room.request_approval(room.propose().policy)
    session = ChatSession(room, ScriptedChatModel(script=[]), decide=lambda _: True)
    answer = answer_line(session, f"{command} {10**30}")
    assert answer.exit_status == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [(-1.0, "delay_ms must lie in 0.1-100000.0"), (float("nan"), "finite number"), (1e9, "delay_ms must lie in")],
)
def test_a_goal_out_of_bounds_is_told_what_was_allowed(room: ControlRoom, value: float, told: str) -> None:
    name = room.topology.slices[0].name
    with pytest.raises(AgentInputInvalid, match=told) as error:
        resolve_goal(room, metric="delay_ms", slice=name, value=value)
    assert "pydantic" not in str(error.value)


def test_a_goal_at_an_unknown_time_is_told_the_known_ones(room: ControlRoom) -> None:
    with pytest.raises(AgentInputInvalid, match="'sometimes' is unknown; always, cell_down"):
        resolve_goal(room, metric="energy", when="sometimes")


@pytest.mark.parametrize("name", ["", "a" * 300, "missing", "nosuch:model", "openai:x@http://[::1"])
def test_a_chat_model_that_is_none_is_told_what_is_expected(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="expected a folder, `embedded`, or provider:model"):
        pick_chat_model(name, TOPOLOGY)


def test_what_a_provider_says_at_length_is_cut_between_words() -> None:
    with pytest.raises(ModelUnavailable) as error:
        pick_chat_model("nope:bad", TOPOLOGY)
    said = (
        str(error.value)
        .removeprefix("model 'nope:bad': ")
        .removesuffix("; expected a folder, `embedded`, or provider:model[@URL]")
    )
    assert said.endswith(" …")
    # The list of providers is cut behind one of them.
    assert said.removesuffix(" …").endswith(",")
    assert len(said) <= 160


@pytest.mark.parametrize("url", ["http://[::1", "http://x:port", "http://\u2100"])
def test_a_servers_address_that_is_none_is_told_what_is_expected(url: str) -> None:
    with pytest.raises(AgentInputInvalid, match="expected http://host:port"):
        ServerLink(url)


@pytest.mark.parametrize("token", ["", "sécret", "secret\r"])
def test_a_token_that_no_header_takes_is_refused_unseen(token: str) -> None:
    with pytest.raises(AgentInputInvalid, match="token") as error:
        ServerLink("http://127.0.0.1:1", token)
    assert "cret" not in str(error.value)


@pytest.mark.parametrize(
    "kept",
    [
        '{"scenario": "smart-city", "seed": 1, "num_devices": "x"}',
        '{"scenario": "smart-city", "seed": 1e400, "num_devices": null}',
        '{"scenario": "smart-city", "seed": -5, "num_devices": null}',
        "[" * 100_000,
        "",
    ],
    ids=["devices", "infinite seed", "negative seed", "nested", "empty"],
)
def test_a_sessions_network_that_can_not_be_read_is_kept_anew(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "mine.network.json"
    path.write_text(kept)
    options = RoomOptions(seed=9)
    assert with_own_network(options, tmp_path, "mine", given=()) == options
    assert with_own_network(RoomOptions(), tmp_path, "mine", given=()).seed == 9


def test_a_home_that_can_not_be_written_to_hinders_no_talk(tmp_path: Path) -> None:
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.input import DummyInput
    from prompt_toolkit.output import DummyOutput

    (tmp_path / "file").touch()
    with create_app_session(input=DummyInput(), output=DummyOutput()):
        assert isinstance(_prompt(tmp_path / "file" / "sessions", _Opening()).history, InMemoryHistory)
        assert isinstance(_prompt(tmp_path / "sessions", _Opening()).history, FileHistory)

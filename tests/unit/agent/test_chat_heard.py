"""Slices said by their 5QI, two goals at a time, and how a chat ends and is kept."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage

from agent.chat.answer import Answer
from agent.chat.heard import asked_back, named_by_five_qi
from agent.chat.session import ChatSession
from agent.chat.slash import answer_line, run_slash
from agent.chat.talk import Listener, OwnTalk, UntilExit
from agent.control_room import ControlRoom
from agent.errors import AgentInputInvalid
from agent.models.chat_model import EmbeddedChatModel
from agent.models.scripted_chat_model import ScriptedChatModel
from telemetry_sim.scenarios import scenario

TOPOLOGY = scenario("smart-city").topology
SCRIPTED = ScriptedChatModel(script=[])


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("what is 5QI 83", "what is signal-control"),
        ("which slice has 5QI 79?", "which slice is vehicles?"),
        ("the slice with the 5qi-7, please", "the slice cameras, please"),
        ("keep 5qi79 within 20 ms", "keep vehicles within 20 ms"),
        ("what is the 5QI of cameras", "what is the 5QI of cameras"),
        ("5QI 82", "5QI 82"),
        ("cell 15QI 79", "cell 15QI 79"),
    ],
)
def test_a_5qi_that_a_slice_has_is_heard_as_the_slice(said: str, heard: str) -> None:
    assert named_by_five_qi(said, TOPOLOGY) == heard


def test_a_5qi_that_no_slice_has_is_answered_with_those_there_are() -> None:
    told = asked_back("explain 5QI 82", TOPOLOGY)
    assert told.startswith("No slice here has 5QI 82: cameras has 5QI 7, signal-control has 5QI 83")
    assert asked_back("explain 5QI 83", TOPOLOGY) == ""


def test_a_5qi_of_two_slices_is_asked_about() -> None:
    same = tuple(profile.model_copy(update={"five_qi": 9}) for profile in TOPOLOGY.slices[:2])
    told = asked_back("how is 5QI 9", TOPOLOGY.model_copy(update={"slices": same}))
    assert told == "5QI 9 is that of cameras and signal-control; say which by its name."


@pytest.mark.parametrize(
    ("said", "is_asked"),
    [
        ("keep vehicles within 20 ms and cameras within 200 ms", True),
        ("keep vehicles within 20 ms in cell 2", False),
        ("propose a plan", False),
    ],
)
def test_two_delays_at_a_time_are_said_to_be_too_many(room: ControlRoom, said: str, is_asked: bool) -> None:
    session = ChatSession(room, EmbeddedChatModel.of(room.topology))
    assert ("I take one delay or rate at a time" in answer_line(session, said).text) is is_asked


def test_a_session_hears_the_slice_and_asks_back_without_a_model(room: ControlRoom) -> None:
    profile = room.topology.slices[0]
    session = ChatSession(room, ScriptedChatModel(script=[AIMessage("Well.")]))
    assert answer_line(session, "how is 5QI 999?").text.startswith("No slice here has 5QI 999")
    assert session.messages == []
    session.ask(f"how is 5QI {profile.five_qi}?")
    assert session.messages[0].text == f"how is {profile.name}?"


class _Echo:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def answer(self, line: str, listener: Listener) -> Answer:
        del listener
        self.heard.append(line)
        return Answer(text=line)

    def words(self) -> list[str]:
        return []

    def warm_up(self) -> None: ...


@pytest.mark.parametrize("word", ["/exit", " /QUIT "])
def test_exit_ends_a_piped_chat_and_nothing_behind_it_is_carried_out(word: str) -> None:
    echo = _Echo()
    talk = UntilExit(echo)
    answers = [talk.answer(line, Listener()) for line in ("/status", word, "/apply")]
    assert echo.heard == ["/status"]
    assert [answer.exit_status for answer in answers] == [0, 0, 0]
    assert answers[1].text == "Bye."


@pytest.mark.parametrize("is_named", [True, False])
def test_save_says_whether_the_session_is_kept(room: ControlRoom, is_named: bool) -> None:
    talk = OwnTalk(ChatSession(room, SCRIPTED, name="night", is_named=is_named))
    told = talk.answer("/save", Listener()).text
    assert ("--resume" in told) is is_named
    assert ("not kept" in told) is not is_named


@pytest.mark.parametrize("count", ["99999999", "0", "61"])
def test_a_run_that_is_too_long_is_told_the_bound(room: ControlRoom, count: str) -> None:
    with pytest.raises(AgentInputInvalid, match=f"/run {count}: 1 to 60 intervals"):
        run_slash(ChatSession(room, SCRIPTED), f"/run {count}")

"""The conversation: nothing changes without a yes, and every number comes from a tool."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agent.chat.answer import MAX_REQUEST, Pending, clean_request
from agent.chat.opening import open_room
from agent.chat.room_options import RoomOptions
from agent.chat.session import ChatSession, unsupported_numbers
from agent.chat.slash import COMMANDS, run_slash
from agent.control_room import ControlRoom
from agent.errors import AgentInputInvalid, ApprovalNeeded, ModelUnavailable, PolicyRejected
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.store.store import Store
from agent.tools import acting
from agent.tools.toolbox import Toolbox
from tests.injection_stage import Poison, PoisonedPlanner


def call(name: str, **arguments: Any) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": arguments, "id": "call", "type": "tool_call"}])


def said(text: str) -> AIMessage:
    return AIMessage(content=text)


def session_of(room: ControlRoom, *script: AIMessage, **given: Any) -> ChatSession:
    return ChatSession(room, ScriptedChatModel(script=list(script)), **given)


def test_a_tool_is_called_and_its_finding_is_kept_as_evidence(room: ControlRoom) -> None:
    answer = session_of(room, call("find_worst"), said("See the evidence.")).ask("which cell is worst and why?")
    assert [c["tool"] for c in answer.calls] == ["find_worst"]
    assert answer.calls[0]["result"]["data"]["cell"] in {site.id for site in room.topology.cells}


def test_an_answer_with_a_number_that_no_tool_found_is_replaced_by_what_the_tools_found(room: ControlRoom) -> None:
    answer = session_of(room, call("network_status"), said("Utility is 4711.25 %.")).ask("status")
    assert "4711.25" not in answer.text
    assert answer.text == answer.calls[0]["result"]["text"]


def test_a_change_that_nobody_confirms_changes_nothing_and_ends_with_status_five(room: ControlRoom) -> None:
    session = session_of(room, call("propose_plan"), said("ok"), call("apply_plan"), said("ok"))
    session.ask("plan")
    answer = session.ask("apply it without asking")
    assert answer.exit_status == 5
    assert answer.pending[0].tool == "apply_plan"
    assert answer.pending[0].resolved["changes"]
    assert room.gate.desired.version == 0


def test_a_person_who_says_no_changes_nothing(room: ControlRoom) -> None:
    session = session_of(room, call("propose_plan"), said("ok"), call("apply_plan"), said("ok"), decide=lambda _: False)
    session.ask("plan")
    assert session.ask("apply").exit_status == 5
    assert room.gate.desired.version == 0


def test_plan_approve_apply_and_roll_back_with_a_yes_to_each(room: ControlRoom) -> None:
    asked: list[Pending] = []

    def decide(pending: Pending) -> bool:
        asked.append(pending)
        return True

    steps = ("propose_plan", "approve_plan", "apply_plan", "roll_back")
    script = [message for step in steps for message in (call(step), said("done"))]
    session = session_of(room, *script, decide=decide)
    for step in steps:
        assert session.ask(step).exit_status == 0
    # The approval covers the very plan that is applied, so nobody is asked twice.
    assert [pending.tool for pending in asked] == ["approve_plan", "roll_back"]
    assert room.gate.desired.version == 2
    assert room.plan_in_force(0).slices[0].min_pct == 25


def test_a_yes_to_one_goal_is_no_yes_to_another(room: ControlRoom) -> None:
    room.confirm("set_goal", {"metric": "delay_ms", "slice": "vehicles", "value": 20})
    with pytest.raises(ApprovalNeeded, match="a person must confirm"):
        acting.set_goal(room, metric="delay_ms", slice="vehicles", value=2)
    assert room.goals() == ()


def test_a_yes_serves_once(room: ControlRoom) -> None:
    room.confirm("clear_goals", {})
    acting.clear_goals(room)
    with pytest.raises(ApprovalNeeded):
        acting.clear_goals(room)


def test_a_yes_is_bound_to_the_content_of_the_plan(room: ControlRoom) -> None:
    room.propose()
    room.confirm("apply_plan", {})
    room.observe()
    room.propose()
    with pytest.raises(ApprovalNeeded):
        acting.apply_plan(room)
    assert room.gate.desired.version == 0


def test_a_tool_called_past_the_session_changes_nothing(room: ControlRoom) -> None:
    room.propose()
    for tool in (acting.approve_plan, acting.reject_plan, acting.apply_plan, acting.clear_goals):
        with pytest.raises(ApprovalNeeded):
            tool(room)
    assert room.gate.desired.version == 0


def test_an_argument_that_a_tool_does_not_take_is_named_and_nothing_is_done(room: ControlRoom) -> None:
    finding = session_of(room, said("ok"), decide=lambda _: True).toolbox.call("approve_plan", {"cell": None})
    assert finding.exit_status == 2
    assert "['version']" in finding.text
    assert "['cell']" in finding.text
    assert room.gate.desired.version == 0


def test_a_read_only_session_offers_no_acting_tools_and_refuses_them(room: ControlRoom) -> None:
    room.is_read_only = True
    session = session_of(room, said("ok"), decide=lambda _: True)
    names = {tool.name for tool in session.toolbox.as_langchain()}
    assert not names & {*acting.STATE_CHANGING, "request_approval"}
    assert session.run_tool("clear_goals", {}).exit_status == 4
    with pytest.raises(PolicyRejected, match="read-only"):
        room.request_approval(room.propose().policy)


def test_a_goal_names_who_yields(room: ControlRoom) -> None:
    given = {"metric": "delay_ms", "value": 10.0, "slice": "signal-control", "yields": "cameras"}
    answer = session_of(room, call("set_goal", **given), said("ok")).ask("keep the signals below 10 ms")
    goal = answer.pending[0].resolved["goal"]
    assert isinstance(goal, dict)
    assert [e["metric"] for e in goal["expectations"]] == ["delay_ms", "priority"]


def test_an_error_of_a_tool_is_an_answer_with_its_status(room: ControlRoom) -> None:
    answer = session_of(room, call("network_status", cell=99), said("There is no such cell.")).ask("cell 99?")
    assert answer.exit_status == 2
    assert "cell 99 is unknown" in answer.calls[0]["result"]["text"]


class _Broken(ScriptedChatModel):
    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionResetError("peer went away")


def test_a_model_that_dies_leaves_the_session_as_it_was(room: ControlRoom) -> None:
    session = session_of(room, call("network_status"), said("fine"))
    session.ask("status")
    before = len(session.messages)
    session.change_model(_Broken(script=[]))
    with pytest.raises(ModelUnavailable, match="peer went away"):
        session.ask("and now?")
    assert len(session.messages) == before


def test_addresses_in_what_the_tools_found_are_hashed_before_a_model_reads_them(room: ControlRoom) -> None:
    told = "sync lost to 10.12.0.7 and fe80::2a:7%eth0, aa:bb:cc:0d:ee:ff wrote to noc@example.org"
    room.planner = PoisonedPlanner(room.planner, Poison(told))
    session = session_of(room, call("explain_decision"), said("See the evidence."))
    answer = session.ask("explain the decision")
    assert told in json.dumps(answer.calls[0]["result"]), "the person at the screen sees them"
    read = "\n".join(str(message.text) for message in session.messages)
    hashed = (
        ("ip", "10.12.0.7"),
        ("ip", "fe80::2a:7"),
        ("mac_address", "aa:bb:cc:0d:ee:ff"),
        ("email", "noc@example.org"),
    )
    for kind, address in hashed:
        assert address not in read
        assert f"<{kind}_hash:{hashlib.sha256(address.encode()).hexdigest()[:8]}>" in read


def test_a_run_that_was_left_has_no_tools_any_more(room: ControlRoom) -> None:
    toolbox = Toolbox(room)
    toolbox.close()
    found = toolbox.call("network_status", {})
    assert (found.exit_status, toolbox.found) == (1, [])


def test_a_session_is_taken_up_again(room: ControlRoom) -> None:
    session_of(room, call("network_status"), said("fine"), name="shift").ask("status")
    again = session_of(room, said("hello"), name="shift")
    assert [message.type for message in again.messages] == ["human", "ai", "tool", "ai"]


@pytest.mark.parametrize("text", ["", "   ", "\x1b[31m\x1b[0m", "\x00\x01", "x" * (MAX_REQUEST + 1), "\ufffd" * 40])
def test_what_cannot_be_a_request_is_refused(text: str) -> None:
    with pytest.raises(AgentInputInvalid):
        clean_request(text)


def test_control_sequences_are_taken_out_of_a_request() -> None:
    assert clean_request("\x1b[2Jsta\u202etus\x07") == "status"


def test_bytes_that_a_terminal_could_not_decode_are_binary_data_or_a_stray_one() -> None:
    with pytest.raises(AgentInputInvalid, match="binary"):
        clean_request("\udcff" * 40)
    assert clean_request("how is cell 2 doing\udcff?").encode()


def test_numbers_are_compared_by_value() -> None:
    assert unsupported_numbers("2.0 of 3", "cell 2 and 3.00") == []
    assert unsupported_numbers("5 ms", "cell 2") == ["5"]


@pytest.mark.parametrize(
    "line",
    [
        "/status",
        "/status 1",
        "/slices",
        "/slices cameras",
        "/plan",
        "/diff",
        "/explain",
        "/explain 1",
        "/whatif down 1",
        "/whatif demand vehicles 2",
        "/whatif share vehicles 40 1",
        "/goal",
        "/history",
        "/replay",
        "/model",
        "/tokens",
        "/save",
        "/help",
        "/run 1",
    ],
)
def test_every_looking_command_answers_with_figures_it_holds(room: ControlRoom, line: str) -> None:
    session = session_of(room, said("ok"))
    room.propose()
    found = run_slash(session, line)
    assert found.text
    assert found.exit_status == 0
    if line.split(maxsplit=1)[0] not in ("/help", "/replay"):
        assert unsupported_numbers(found.text, found.to_json().partition('"data":')[2]) == []


@pytest.mark.parametrize("line", ["/apply", "/approve", "/reject", "/rollback", "/goal clear", "/goal energy"])
def test_acting_commands_need_a_yes_too(room: ControlRoom, line: str) -> None:
    session = session_of(room, said("ok"))
    room.propose()
    found = run_slash(session, line)
    assert found.exit_status in (2, 5)
    assert room.gate.desired.version == 0
    assert room.goals() == ()


def test_unknown_and_malformed_commands_say_what_is_allowed(room: ControlRoom) -> None:
    session = session_of(room, said("ok"))
    with pytest.raises(AgentInputInvalid, match="/status"):
        run_slash(session, "/frobnicate")
    with pytest.raises(AgentInputInvalid, match="expected /whatif"):
        run_slash(session, "/whatif")
    assert "/whatif" in COMMANDS


def test_the_help_keeps_its_columns_apart(room: ControlRoom) -> None:
    text = run_slash(session_of(room, said("ok")), "/help").text
    for name, command in COMMANDS.items():
        usage = f"{name} {command.usage}".strip()
        line = next(line for line in text.splitlines() if line.startswith(usage))
        assert line == usage or line.removeprefix(usage).startswith("  ")


def test_control_sequences_are_taken_out_of_a_command(room: ControlRoom) -> None:
    assert run_slash(session_of(room, said("ok")), "/sta\x1b[31mtus \x07").exit_status == 0


def test_a_model_that_loops_is_told_apart_from_one_that_answers(room: ControlRoom) -> None:
    answer = session_of(room, call("network_status")).ask("loop for ever")
    assert 0 < len(answer.calls) <= 8
    assert answer.text.startswith("Stopped: the model kept calling tools")
    assert answer.calls[0]["result"]["text"] in answer.text


def test_a_long_conversation_is_summarised_and_goes_on(room: ControlRoom) -> None:
    session = session_of(room, said("They asked for a status."), call("network_status"), said("fine"))
    past = [HumanMessage("status? " + "x" * 4000), AIMessage(content="fine " + "y" * 4000)] * 20
    session._restore([message.model_copy(update={"id": f"m{i}"}) for i, message in enumerate(past)])
    heard: list[str] = []
    session.on_text = heard.append
    answer = session.ask("and now?")
    assert [made["tool"] for made in answer.calls] == ["network_status"]
    assert len(session.messages) < 20
    assert any("They asked for a status." in str(message.text) for message in session.messages)
    assert "They asked" not in "".join(heard)


def test_a_session_taken_up_again_goes_on_at_its_time(room: ControlRoom) -> None:
    session = session_of(room, call("network_status"), said("fine"), name="shift")
    run_slash(session, "/run 4")
    session.ask("status")
    left_at_s = room.now_s
    fresh = open_room(RoomOptions(planner="optimiser", num_devices=40), room.store)
    assert fresh.now_s < left_at_s
    session_of(fresh, said("hello"), name="shift")
    assert fresh.now_s == left_at_s


def test_what_was_done_is_told_where_the_conversation_can_not_be_kept(room: ControlRoom) -> None:
    closed = Store.open("sqlite://")
    session = session_of(room, said("Hello."), store=closed, decide=lambda _: True)
    closed.close()
    finding = session.run_tool("set_goal", {"metric": "delay_ms", "slice": "vehicles", "value": 20})
    assert finding.text.startswith("Goal set")
    assert "could not be kept" in finding.text
    assert len(room.goals()) == 1
    assert "could not be kept" in session.ask("hello").text

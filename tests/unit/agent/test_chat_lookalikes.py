"""Requests that differ by a word or two and mean something else, as the shipped weights read them."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agent.models.chat_model import EMBEDDED_OPERATOR, EmbeddedChatModel
from agent.models.operator_language import ARGUMENTS
from telemetry_sim.scenarios import scenario

pytestmark = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)
TOOLS = frozenset(ARGUMENTS) - {"ask", "decline", "help"}
NO_GOAL, UNSURE, DECLINED = "No goal says that", "I'm not sure what you want", "I can't do that"


@pytest.fixture(scope="module")
def model() -> EmbeddedChatModel:
    return EmbeddedChatModel.of(scenario("smart-city").topology)


def answered(model: EmbeddedChatModel, text: str) -> AIMessage:
    return model._next([HumanMessage(text)], TOOLS)


def called(model: EmbeddedChatModel, text: str) -> dict[str, object]:
    """The only call and its arguments in one mapping."""
    calls = answered(model, text).tool_calls
    assert len(calls) == 1, answered(model, text).content
    return {"tool": calls[0]["name"]} | calls[0]["args"]


def told_instead(model: EmbeddedChatModel, text: str) -> str:
    """What is said where nothing is called."""
    answer = answered(model, text)
    assert not answer.tool_calls
    return str(answer.content)


@pytest.mark.parametrize(
    ("order", "goal"),
    [
        ("keep the cameras below 5 Mb/s", {"metric": "rate_mbps", "value": 5, "slice": "cameras"}),
        ("no more than 5 Mb/s for each camera", {"metric": "rate_mbps", "value": 5, "slice": "cameras"}),
        ("cameras must not get more than 5 Mb/s", {"metric": "rate_mbps", "value": 5, "slice": "cameras"}),
        ("could you cap the cameras at 5 Mb/s?", {"metric": "rate_mbps", "value": 5, "slice": "cameras"}),
        ("reduce the latency of metering to 50 ms", {"metric": "delay_ms", "value": 50, "slice": "metering"}),
        ("keep vehicles under 20 ms", {"metric": "delay_ms", "value": 20, "slice": "vehicles"}),
        ("keep at least 95 % of metering in time", {"metric": "in_time_pct", "value": 95, "slice": "metering"}),
        ("could you prioritise the vehicles?", {"metric": "priority_up", "slice": "vehicles"}),
        ("don't let the vehicles suffer", {"metric": "priority_up", "slice": "vehicles"}),
    ],
)
def test_what_a_goal_says_is_one(model: EmbeddedChatModel, order: str, goal: dict[str, object]) -> None:
    assert called(model, order) == {"tool": "set_goal", "when": "always"} | goal


@pytest.mark.parametrize(
    "wish",
    [
        "keep the cameras above 5 Mb/s",
        "at least 5 Mb/s for each camera",
        "cameras must get at least 5 Mb/s",
        "never let the cameras drop below 5 Mb/s",
        "guarantee the cameras 5 Mb/s each",
        "reduce the latency of metering by 50 %",
        "make the vehicles 20 % faster",
        "halve the latency of metering",
        "give the cameras 5 Mb/s more",
        "keep the latency of metering above 50 ms",
        "lift the cap on the cameras",
        "remove the delay target for metering",
    ],
)
def test_what_no_goal_can_say_changes_nothing_and_is_told(model: EmbeddedChatModel, wish: str) -> None:
    assert told_instead(model, wish).startswith(NO_GOAL)


@pytest.mark.parametrize(
    ("asked", "change", "value"),
    [
        ("what if camera traffic drops to 10 %", "to_pct", 10),
        ("what if camera traffic drops by 10 %", "down_pct", 10),
        ("what would happen if camera demand rose to 150 % of today", "to_pct", 150),
        ("what would happen if camera demand rose by 50 %", "up_pct", 50),
        ("what if only 30 % of the camera load remains", "to_pct", 30),
        ("what if camera load is 30 % below normal", "down_pct", 30),
    ],
)
def test_to_is_not_by(model: EmbeddedChatModel, asked: str, change: str, value: int) -> None:
    assert called(model, asked) == {"tool": "what_if_demand", "slice": "cameras", "change": change, "value": value}


@pytest.mark.parametrize(
    ("question", "tool"),
    [
        ("are the cameras under 50 ms?", "network_status"),
        ("do the cameras get 5 Mb/s?", "network_status"),
        ("is the latency of metering still below 50 ms", "network_status"),
        ("are the cameras capped?", "list_goals"),
        ("is there a cap on the cameras?", "list_goals"),
        ("do the vehicles have priority?", "list_goals"),
        ("was the plan applied?", "show_history"),
        ("did anyone roll back today?", "show_history"),
        ("what changes if I approve it?", "show_diff"),
        ("did cell 2 go down last night?", "search_incidents"),
        ("is cell 2 down?", "network_status"),
    ],
)
def test_a_question_is_no_order(model: EmbeddedChatModel, question: str, tool: str) -> None:
    assert called(model, question)["tool"] == tool


@pytest.mark.parametrize(
    "text",
    [
        "don't cap the cameras",
        "don't prioritise the vehicles",
        "do not keep metering under 50 ms",
        "should I cap the cameras at 5 Mb/s?",
        "is it a good idea to prioritise metering?",
        "I didn't say to cap the cameras",
        "please don't save energy",
        "don't roll back",
    ],
)
def test_what_is_doubted_or_forbidden_is_not_done(model: EmbeddedChatModel, text: str) -> None:
    assert told_instead(model, text).startswith(UNSURE)


@pytest.mark.parametrize(
    "text",
    [
        "reduce the transmit power of cell 3 by 3 dB",
        "tilt the antenna of cell 2 by 4 degrees",
        "switch cell 2 to another band",
        "hand over half of the users of cell 1 to LTE",
        "create a new slice for drones",
    ],
)
def test_the_radio_itself_is_out_of_reach(model: EmbeddedChatModel, text: str) -> None:
    assert told_instead(model, text).startswith((DECLINED, "I can't place"))

"""What the embedded model reads must stand in the operator's words or in what was last spoken of; else it asks back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agent.models.chat_model import EmbeddedChatModel
from agent.models.operator_language import Call, call
from agent.models.operator_model import Reading

TOOLS = frozenset({"network_status", "set_goal", "show_history", "write_report"})


class FixedReader:
    """Reads the same into every request."""

    def __init__(self, read: Call) -> None:
        self._read = read

    def read(self, text: str, **given: Any) -> Reading:
        return Reading(calls=(self._read,), text="", num_prompt_tokens=1, num_tokens=1, num_sampled=1)


def answer(text: str, tool: str, before: tuple[BaseMessage, ...] = (), **given: Any) -> AIMessage:
    model = EmbeddedChatModel(cells=(0, 1, 2), slices=("cameras", "signal-control", "vehicles"))
    model._operator = FixedReader(call(tool, given))  # type: ignore[assignment]
    return model._next([*before, HumanMessage(text)], TOOLS)


def spoken_of(**focus: Any) -> tuple[BaseMessage, ...]:
    return (HumanMessage("?"), ToolMessage(json.dumps({"text": "", "focus": focus}), tool_call_id="1"))


def test_a_slice_that_was_named_is_looked_at() -> None:
    made = answer("how are the vehicles?", "network_status", slice=3).tool_calls
    assert [(c["name"], c["args"]) for c in made] == [("network_status", {"slice": "vehicles"})]


def test_a_slice_that_was_not_named_is_asked_back() -> None:
    said = answer("how are the vehicles?", "network_status", slice=1)
    assert said.tool_calls == []
    assert "Which slice" in str(said.content)


def test_a_slice_just_spoken_of_needs_no_name_but_a_goal_for_it_does() -> None:
    before = spoken_of(slice="cameras")
    assert answer("show its history", "show_history", before, slice=1).tool_calls
    assert not answer("keep it below 20 ms", "set_goal", before, metric="delay_ms", slice=1, value=20.0).tool_calls


@pytest.mark.parametrize(("text", "number"), [("how is cell 99 doing?", "99"), ("cells 1 and 7", "7")])
def test_a_number_that_found_no_place_is_named(text: str, number: str) -> None:
    said = answer(text, "network_status", cell=1) if "1" in text else answer(text, "network_status")
    assert said.tool_calls == []
    assert f"I can't place {number}" in str(said.content)
    assert "Cells are 0, 1, 2" in str(said.content)


def test_numbers_mean_nothing_to_a_tool_that_takes_none() -> None:
    assert answer("write a report for the last 24 hours", "write_report").tool_calls


def test_a_number_that_was_never_said_is_asked_back() -> None:
    said = answer("keep vehicles fast", "set_goal", metric="delay_ms", slice=3, value=5.0)
    assert "Which value" in str(said.content)

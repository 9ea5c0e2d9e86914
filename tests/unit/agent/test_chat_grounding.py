"""A number in the operator's words that no call took up is asked about, never dropped."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.models.chat_model import EmbeddedChatModel
from agent.models.operator_language import Call, call
from agent.models.operator_model import Reading
from agent.tools.finding import Finding

TOOLS = frozenset({"network_status", "write_report"})


class FixedReader:
    """Reads the same into every request."""

    def __init__(self, read: Call) -> None:
        self._read = read

    def read(self, text: str, **given: Any) -> Reading:
        return Reading(calls=(self._read,), num_prompt_tokens=1, num_tokens=1, confidence=1.0)


def answer(text: str, tool: str, **given: Any) -> AIMessage:
    model = EmbeddedChatModel(cells=(0, 1, 2), slices=("cameras", "signal-control", "vehicles"))
    model._operator = FixedReader(call(tool, given))  # type: ignore[assignment]
    return model._next([HumanMessage(text)], TOOLS)


def test_a_slice_that_was_named_is_looked_at() -> None:
    made = answer("how are the vehicles?", "network_status", slice=3).tool_calls
    assert [(c["name"], c["args"]) for c in made] == [("network_status", {"slice": "vehicles"})]


def test_each_of_several_cells_is_looked_at() -> None:
    model = EmbeddedChatModel(cells=(0, 1, 2), slices=("cameras", "signal-control", "vehicles"))
    model._operator = FixedReader(call("network_status", {"cell": 2, "slice": 3}))  # type: ignore[assignment]
    request = HumanMessage("compare the vehicles of cell 1 and cell 2")
    first = model._next([request], TOOLS)
    found = ToolMessage(Finding(text="Fine.").to_json(), tool_call_id="call-1")
    second = model._next([request, first, found], TOOLS)
    assert [c["args"] for c in (*first.tool_calls, *second.tool_calls)] == [
        {"slice": "vehicles", "cell": 1},
        {"slice": "vehicles", "cell": 2},
    ]
    assert "Fine." in str(model._next([request, first, found, second, found], TOOLS).content)


@pytest.mark.parametrize(("text", "number"), [("how is cell 99 doing?", "99"), ("cells 1 and 7", "7")])
def test_a_number_that_found_no_place_is_named(text: str, number: str) -> None:
    said = answer(text, "network_status", cell=1) if "1" in text else answer(text, "network_status")
    assert said.tool_calls == []
    assert f"I can't place {number}" in str(said.content)
    assert "Cells are 0, 1, 2" in str(said.content)


def test_numbers_mean_nothing_to_a_tool_that_takes_none() -> None:
    assert answer("write a report for the last 24 hours", "write_report").tool_calls

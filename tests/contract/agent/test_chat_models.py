"""LangChain's standard tests of a chat model, on ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

# The standard tests carry a marker of a plugin that is switched off here, and markers are strict.
pytest.mark._markers.add("benchmark")

from langchain_tests.unit_tests import ChatModelUnitTests  # noqa: E402 - after the marker is known

from agent.models.chat_model import EmbeddedChatModel  # noqa: E402
from agent.models.folder_chat_model import read_tool_calls  # noqa: E402


@pytest.fixture
def benchmark() -> Callable[[Callable[[], None]], None]:
    """Runs once: times are measured by the benchmarks, not here."""
    return lambda work: work()


@pytest.fixture
def snapshot() -> None:
    """Not used: the model is not serialised."""


class TestEmbeddedChatModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[EmbeddedChatModel]:
        return EmbeddedChatModel

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"cells": (1, 2), "slices": ("cameras", "vehicles")}


def test_tool_call_blocks_become_calls_and_broken_ones_stay_text() -> None:
    good = read_tool_calls('Let me see. <tool_call>{"name": "find_worst", "arguments": {"kind": "cell"}}</tool_call>')
    assert [(c["name"], c["args"]) for c in good.tool_calls] == [("find_worst", {"kind": "cell"})]
    assert good.content == "Let me see."
    for text in ('<tool_call>{"name": 3</tool_call>', "<tool_call>{}</tool_call>", "plain words"):
        assert read_tool_calls(text).tool_calls == []

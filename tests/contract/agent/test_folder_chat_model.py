"""A Hugging Face chat model of a folder: LangChain's standard tests, streaming, calls, stop words and failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

# The standard tests carry a marker of a plugin that is switched off here, and markers are strict.
pytest.mark._markers.add("benchmark")

from langchain_tests.unit_tests import ChatModelUnitTests  # noqa: E402 - after the marker is known

from agent.errors import ModelUnavailable  # noqa: E402
from agent.models.folder_chat_model import FolderChatModel  # noqa: E402
from tests.folder_model_stage import saying, write_chat_model  # noqa: E402


@pytest.fixture
def benchmark():
    """Runs once: times are measured by the benchmarks, not here."""
    return lambda work: work()


@pytest.fixture
def snapshot() -> None:
    """Not used: the model is not serialised."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    write_chat_model(made)
    return made


@pytest.fixture
def model(folder: Path) -> FolderChatModel:
    return FolderChatModel(folder=str(folder), max_new_tokens=200)


class TestFolderChatModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[FolderChatModel]:
        return FolderChatModel

    @property
    def chat_model_params(self) -> dict[str, object]:
        return {"folder": "anywhere"}


def streamed(model: FolderChatModel, **given: object) -> list[AIMessageChunk]:
    return [chunk for chunk in model.stream([HumanMessage("hello")], **given) if isinstance(chunk, AIMessageChunk)]


def test_an_untrained_model_answers_within_its_bound(folder: Path) -> None:
    answer = FolderChatModel(folder=str(folder), max_new_tokens=5).invoke([HumanMessage("hello")])
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > 5


def test_words_come_one_after_another(model: FolderChatModel) -> None:
    saying(model, lambda: "All is well here.")
    pieces = [chunk.text for chunk in streamed(model) if chunk.text]
    assert len(pieces) > 2
    assert "".join(pieces) == "All is well here."


def test_a_call_is_held_back_and_a_broken_one_is_said(model: FolderChatModel) -> None:
    block = '<tool_call>{"name": "find_worst", "arguments": {"kind": "cell"}}</tool_call>'
    saying(model, lambda: f"I look. {block}")
    whole = model.invoke([HumanMessage("hello")])
    assert [(c["name"], c["args"]) for c in whole.tool_calls] == [("find_worst", {"kind": "cell"})]
    assert "<tool_call>" not in "".join(chunk.text for chunk in streamed(model))
    saying(model, lambda: "1 < 2 and <tool_call>{broken")
    assert model.invoke([HumanMessage("hello")]).text == "1 < 2 and <tool_call>{broken"


def test_a_stop_word_ends_the_answer(model: FolderChatModel) -> None:
    saying(model, lambda: "first END second")
    assert model.invoke([HumanMessage("hello")], stop=["END"]).text == "first "


def test_a_failure_while_words_are_made_is_raised(model: FolderChatModel) -> None:
    def fail() -> str:
        raise RuntimeError("out of memory")

    saying(model, fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        model.invoke([HumanMessage("hello")])


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="chat model"):
        FolderChatModel(folder=str(tmp_path)).invoke([HumanMessage("hello")])

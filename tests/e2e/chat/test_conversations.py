"""Forty conversations end in the right state with the right tool trail, whichever model speaks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage

from agent.chat.opening import pick_chat_model
from agent.models.chat_model import EMBEDDED_OPERATOR
from agent.models.folder_chat_model import FolderChatModel
from agent.models.scripted_chat_model import ScriptedChatModel
from tests.conversation_stage import FOLDER, Conversation, Puppet, conversations, play, room_for
from tests.folder_model_stage import saying, write_chat_model
from tests.openai_stage import ScriptedServer, scripted_server

needs_weights = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    write_chat_model(made)
    return made


def test_there_are_forty_conversations_of_every_kind() -> None:
    known = conversations()
    assert len(known) == len({conversation.name for conversation in known}) == 40
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {
        "approvals",
        "corrections",
        "looking",
        "references",
        "refusals",
    }


@pytest.mark.parametrize("conversation", conversations(), ids=lambda c: c.name)
def test_with_the_scripted_model(conversation: Conversation) -> None:
    model = ScriptedChatModel(script=[AIMessage(content="")])

    def say(messages: list[AIMessage]) -> None:
        model.script = [*model.script[: model.num_asked], *messages]

    with room_for(conversation) as room:
        assert play(conversation, room, Puppet(model, say)) == []


@pytest.mark.slow
@pytest.mark.parametrize("conversation", conversations(), ids=lambda c: c.name)
def test_with_a_model_behind_an_openai_compatible_server(conversation: Conversation, server: ScriptedServer) -> None:
    def say(messages: list[AIMessage]) -> None:
        assert not server.script, "words of the turn before were never asked for"
        num_asked = len(server.requests)
        server.script.extend(
            message.model_copy(
                update={"tool_calls": [{**call, "id": f"call-{num_asked + i}"} for call in message.tool_calls]}
            )
            for i, message in enumerate(messages)
        )

    server.script.clear()
    with room_for(conversation) as room:
        model = pick_chat_model(f"openai:scripted@{server.url}", room.topology)
        assert play(conversation, room, Puppet(model, say)) == []


@pytest.mark.slow
@pytest.mark.parametrize("conversation", conversations(), ids=lambda c: c.name)
def test_with_a_hugging_face_model_of_a_folder(conversation: Conversation, folder: Path) -> None:
    texts: deque[str] = deque()
    with room_for(conversation) as room:
        model = pick_chat_model(str(folder), room.topology)
        assert isinstance(model, FolderChatModel)
        saying(model, texts.popleft)
        puppet = Puppet(model, lambda messages: texts.extend(map(_as_generated, messages)))
        assert play(conversation, room, puppet) == []
    assert not texts


def _as_generated(message: AIMessage) -> str:
    """What a model of Qwen's or Hermes's kind writes for a message."""
    calls = [json.dumps({"name": call["name"], "arguments": call["args"]}) for call in message.tool_calls]
    return "\n".join([str(message.content), *(f"<tool_call>{call}</tool_call>" for call in calls)]).strip()


@needs_weights
@pytest.mark.parametrize("conversation", conversations(), ids=lambda c: c.name)
def test_with_the_embedded_model(conversation: Conversation) -> None:
    with room_for(conversation) as room:
        assert play(conversation, room, pick_chat_model(None, room.topology)) == []

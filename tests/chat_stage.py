"""The chat over REST with a model whose words are written beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage

from agent.gate.gate import GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.store.tokens import create_token
from api.app import create_app
from api.conversations import Conversations
from api.operations import Operations
from api.security import LOCAL
from api.settings import ApiSettings
from tests.api_stage import Stage, build_stage

SUGGESTING = GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.SUGGEST_ONLY))


def calling(tool: str, **arguments: Any) -> AIMessage:
    """The model calls a tool."""
    return AIMessage(
        content="", tool_calls=[{"name": tool, "args": arguments, "id": f"call-{tool}", "type": "tool_call"}]
    )


def saying(text: str = "That is what was found.") -> AIMessage:
    """The model answers."""
    return AIMessage(content=text)


class ChatStage:
    """A REST face whose chat model says what it is told to."""

    def __init__(self, stage: Stage, settings: ApiSettings | None = None) -> None:
        self.operations = stage.operations
        self.model = ScriptedChatModel(script=[saying()])
        chosen = settings or ApiSettings(chats_per_s=1e9, chat_burst=10**9)
        self.conversations = Conversations(self.operations, chosen, make_model=lambda _: self.model)
        self.app = create_app(self.operations, chosen, conversations=self.conversations)

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)

    def says(self, *messages: AIMessage) -> None:
        """What the model says from now on."""
        self.model.script = [*self.model.script[: self.model.num_asked], *messages]


def tokens_for(operations: Operations, *roles: str) -> dict[str, str]:
    """A token for each role, named after it."""
    return {
        role: operations.store.write(
            lambda t, role=role: create_token(t, name=role, role=role, lifetime_s=None, actor="test")
        )
        for role in roles
    }


@pytest.fixture
def stage(clock, tmp_path) -> Iterator[Stage]:
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock, SUGGESTING)
    built.operations.turn()
    yield built
    built.store.close()


@pytest.fixture
def chat(stage) -> Iterator[ChatStage]:
    made = ChatStage(stage)
    yield made
    made.conversations.close()


async def ask(client, request: str, **more: object) -> httpx.Response:
    return await client.post("/v1/chat", json={"request": request, "read_only": False, **more})


async def confirm(client, pending: dict[str, object], **more: object) -> httpx.Response:
    body = {"pending_id": pending["id"], "binding": pending["binding"], "is_agreed": True, **more}
    return await client.post("/v1/chat/confirmations", json=body)


def held(chat: ChatStage, session: str) -> AbstractContextManager[None]:
    """Another request is being answered in the session."""
    return chat.conversations._held(LOCAL, session)

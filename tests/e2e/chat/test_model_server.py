"""A model behind a server that breaks off, refuses or is away: said plainly, and the conversation is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage

from agent.chat.opening import open_room, pick_chat_model
from agent.chat.room_options import RoomOptions
from agent.chat.session import ChatSession
from agent.errors import ModelUnavailable
from agent.store.store import Store
from tests.openai_stage import scripted_server


@pytest.fixture
def session() -> Iterator[ChatSession]:
    with Store.open("sqlite://") as store:
        room = open_room(RoomOptions(planner="optimiser", num_devices=12, num_intervals=1), store)
        yield ChatSession(room, pick_chat_model(None, room.topology))


def test_a_server_that_dies_in_mid_answer_leaves_the_session_as_it_was(session: ChatSession) -> None:
    heard: list[str] = []
    session.on_text = heard.append
    with scripted_server() as server:
        session.change_model(pick_chat_model(f"openai:scripted@{server.url}", session.room.topology))
        server.script.extend([AIMessage(content="All is well."), AIMessage(content="this is cut off in the middle")])
        session.ask("hello")
        before = session.messages
        server.dies_after = 2
        with pytest.raises(ModelUnavailable, match="the chat model failed"):
            session.ask("and now?")
        assert "this is" in "".join(heard)
        assert session.messages == before
        server.dies_after = None
        server.script.append(AIMessage(content="Still well."))
        assert session.ask("and now?").text.strip() == "Still well."


def test_a_server_that_is_away_is_said(session: ChatSession) -> None:
    session.change_model(pick_chat_model("openai:scripted@http://127.0.0.1:9/v1", session.room.topology))
    with pytest.raises(ModelUnavailable, match=r"the chat model failed: .*Connection.*/model embedded"):
        session.ask("hello")
    assert session.messages == []


def test_a_model_nobody_offers_is_refused_with_what_is_allowed(session: ChatSession) -> None:
    with pytest.raises(ModelUnavailable, match="expected a folder"):
        pick_chat_model("frobnicate:large", session.room.topology)

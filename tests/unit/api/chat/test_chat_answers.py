"""The chat over REST: answers with evidence, sessions of each caller's own, trouble said."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from agent.errors import PolicyRejected, StoreFull, StoreUnusable
from agent.store.tokens import TokenOwner, create_token
from api.errors import RequestRefused, as_problem
from api.routes.chat import _events
from api.settings import ApiSettings
from tests.api_stage import build_stage
from tests.chat_stage import SUGGESTING, ChatStage, ask, calling, confirm, held, saying, tokens_for
from tests.unit.api.test_a1 import assert_is_problem


async def test_a_sentence_is_answered_with_calls_and_evidence(chat):
    chat.says(calling("network_status"), saying())
    async with chat.client() as client:
        answer = (await ask(client, "how are we doing?")).json()
    assert [call["tool"] for call in answer["tool_calls"]] == ["network_status"]
    assert answer["evidence"][0]["data"]["num_cells"] == 3
    assert answer["exit_status"] == 0


async def test_events_come_in_the_order_in_which_they_happen(chat):
    chat.says(calling("propose_plan"), calling("apply_plan"), saying("Nothing was done."))
    async with chat.client() as client:
        body = {"request": "plan and apply", "read_only": False}
        answer = await client.post("/v1/chat", json=body, headers={"Accept": "text/event-stream"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert list(dict.fromkeys(events)) == ["call", "pending", "answer"]


async def test_a_viewer_looks_and_changes_nothing(chat, stage):
    tokens = tokens_for(stage.operations, "viewer", "approver")
    async with chat.client(tokens["viewer"]) as client:
        assert_is_problem(await ask(client, "/apply"), 403)
        looked = await ask(client, "/status", read_only=True)
        assert looked.json()["exit_status"] == 0
        for line in ("/plan", "/apply", "/approve 1", "/reject 1", "/rollback 0", "/goal energy", "/goal clear"):
            refused = (await ask(client, line, read_only=True)).json()
            assert refused["exit_status"] == 4
            assert refused["pending"] == []
        async with chat.client(tokens["approver"]) as approver:
            (pending,) = (await ask(approver, "/goal delay_ms control 20")).json()["pending"]
        assert_is_problem(await confirm(client, pending), 403)
    assert stage.operations.goals.live() == ()
    assert stage.gate.desired.version == 0


async def test_a_session_is_its_callers_own_and_read_again(chat, stage):
    tokens = tokens_for(stage.operations, "viewer", "operator")
    chat.says(calling("network_status"), saying("All is well."), saying("Hello."))
    async with chat.client(tokens["operator"]) as client:
        assert (await ask(client, "status", session="night")).json()["session"] == "night"
    again = ChatStage(stage)
    # Its messages are numbered; those of the talk before must not look the same.
    again.model.num_asked = 10
    async with again.client(tokens["viewer"]) as client:
        await ask(client, "hello", session="night", read_only=True)
    async with again.client(tokens["operator"]) as client:
        await ask(client, "and now?", session="night")
    lengths = {key[0]: len(opened.session.messages) for key, opened in again.conversations._open.items()}
    assert lengths["operator"] == lengths["viewer"] + 4
    again.conversations.close()


@pytest.mark.parametrize("line", ["/export /tmp/x", "/model openai:gpt@http://127.0.0.1:1", "/run 5", "\x1b[2J", "/x"])
async def test_what_is_not_for_a_server_is_said(chat, line):
    async with chat.client() as client:
        answer = await ask(client, line)
    if line == "/x":
        assert "is unknown" in answer.json()["answer"]
    else:
        assert_is_problem(answer, 400)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"request": ""},
        {"request": "x" * 4001},
        {"request": "x", "session": "../x"},
        {"request": 1},
        {"reques": "x"},
    ],
)
async def test_a_malformed_request_is_a_problem_document(chat, body):
    async with chat.client() as client:
        assert_is_problem(await client.post("/v1/chat", json=body), 400)


async def test_too_many_questions_are_refused(stage):
    chat = ChatStage(stage, ApiSettings(chats_per_s=0.001, chat_burst=1))
    async with chat.client() as client:
        assert (await ask(client, "/status")).status_code == 200
        assert_is_problem(await ask(client, "/status"), 429)
    chat.conversations.close()


async def test_a_session_that_is_busy_says_so(chat):
    async with chat.client() as client:
        session = (await ask(client, "/status")).json()["session"]
        with held(chat, session):
            assert_is_problem(await ask(client, "/status", session=session), 409)
            assert_is_problem(await ask(client, "/status", session=session, read_only=True), 409)
        with held(chat, "new"):
            assert_is_problem(await ask(client, "/status", session="new"), 409)


async def test_one_callers_questions_leave_room_for_another_and_for_a_word(chat, stage):
    tokens = tokens_for(stage.operations, "viewer", "operator")
    viewer, release = TokenOwner(name="viewer", role="viewer"), threading.Event()

    def wait() -> dict[str, object]:
        release.wait(10.0)
        return {}

    try:
        async with chat.client(tokens["operator"]) as client:
            (pending,) = (await ask(client, "/goal delay_ms control 20")).json()["pending"]
            for _ in range(4):
                chat.conversations.run(viewer, wait)
            with pytest.raises(RequestRefused, match="429"):
                chat.conversations.run(viewer, wait)
            # Both workers are taken by the viewer's.
            assert "Goal set" in (await confirm(client, pending)).json()["answer"]
            release.set()
            assert (await ask(client, "/status")).status_code == 200
    finally:
        release.set()


def test_callers_drop_their_own_sessions_and_changes_only(chat):
    conversations = chat.conversations
    ann, ben = (TokenOwner(name=name, role="operator") for name in ("ann", "ben"))

    def said(caller: TokenOwner, line: str) -> dict[str, Any]:
        return conversations.answer(caller, line, None, is_read_only=False, hear=lambda _kind, _document: None)

    (first,) = said(ann, "/goal delay_ms control 20")["pending"]
    for _ in range(17):
        (other,) = said(ben, "/goal delay_ms control 20")["pending"]
    assert [owner for owner, _ in conversations._open] == ["ann"] + ["ben"] * 16
    waiting = conversations._waiting
    for _ in range(64):
        waiting.add(replace(waiting.find("ben", other["id"])))
    with pytest.raises(RequestRefused, match="404"):
        waiting.find("ben", other["id"])
    assert "Goal set" in conversations.confirm(ann, first["id"], first["binding"], is_agreed=True)["answer"]


async def test_a_session_that_could_not_be_kept_is_refused_before_anything_is_done(chat, stage):
    token = stage.store.write(lambda t: create_token(t, name="n" * 60, role="operator", lifetime_s=None, actor="test"))
    async with chat.client(token) as client:
        assert_is_problem(await ask(client, "/status", session="night"), 400)
        assert (await ask(client, "/status", session="day")).status_code == 200


async def test_bad_input_with_an_idempotency_key_is_bad_input(chat):
    body = {"request": "/export /tmp/x", "read_only": False}
    async with chat.client() as client:
        for _ in range(2):
            answer = await client.post("/v1/chat", json=body, headers={"Idempotency-Key": "k"})
            assert_is_problem(answer, 400)
        body = {"request": "/status"}
        assert (await client.post("/v1/chat", json=body, headers={"Idempotency-Key": "j"})).status_code == 200
        other = await client.post("/v1/chat", json=body | {"read_only": False}, headers={"Idempotency-Key": "j"})
        assert_is_problem(other, 409)


async def test_a_stream_takes_no_idempotency_key(chat):
    headers = {"Accept": "text/event-stream", "Idempotency-Key": "k"}
    async with chat.client() as client:
        assert_is_problem(await client.post("/v1/chat", json={"request": "/status"}, headers=headers), 400)


@pytest.mark.parametrize(
    ("error", "status"), [(StoreFull("x"), 507), (StoreUnusable("x"), 503), (PolicyRejected("x"), 409)]
)
async def test_a_streams_problem_is_that_of_an_answer(error, status):
    queue, future = asyncio.Queue(), Future()
    future.set_exception(error)
    queue.put_nowait(("end", {}))
    events = "".join([event async for event in _events(("text", {"piece": "a"}), queue, future)])
    assert json.loads(events.rsplit("data: ", 1)[1])["status"] == status == as_problem(error).status


async def test_before_the_first_interval_nothing_can_be_said(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock, SUGGESTING)
    chat = ChatStage(built)
    async with chat.client() as client:
        assert_is_problem(await ask(client, "status"), 503)
        about = (await client.get("/v1/chat")).json()
    assert about["slices"] == ["video", "control", "meters"]
    assert about["may_change"] is True
    chat.conversations.close()
    built.store.close()

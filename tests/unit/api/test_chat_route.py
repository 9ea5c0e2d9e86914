"""The chat over REST: answers with evidence, changes only by a confirmed word, roles held to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from agent.errors import PolicyRejected, StoreFull, StoreUnusable
from agent.store.approvals import list_approvals
from agent.store.policies import list_policies
from agent.store.tokens import TokenOwner, create_token
from api.errors import RequestRefused, as_problem
from api.routes.chat import _events
from api.security import LOCAL
from api.settings import ApiSettings
from tests.api_stage import Stage, build_stage
from tests.chat_stage import SUGGESTING, ChatStage, calling, saying, tokens_for
from tests.unit.api.test_a1 import assert_is_problem

GOAL = {"metric": "delay_ms", "slice": "control", "value": 20}


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


async def ask(client, request: str, **more: object):
    return await client.post("/v1/chat", json={"request": request, "read_only": False, **more})


async def confirm(client, pending: dict[str, object], **more: object):
    body = {"pending_id": pending["id"], "binding": pending["binding"], "is_agreed": True, **more}
    return await client.post("/v1/chat/confirmations", json=body)


def held(chat: ChatStage, session: str) -> AbstractContextManager[None]:
    """Another request is being answered in the session."""
    return chat.conversations._held(LOCAL, session)


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


async def test_a_plan_is_applied_by_a_yes_to_what_was_shown(chat, stage):
    chat.says(calling("propose_plan"), saying(), calling("apply_plan"), saying())
    async with chat.client() as client:
        session = (await ask(client, "plan")).json()["session"]
        described = (await ask(client, "apply it", session=session)).json()
        assert described["exit_status"] == 5
        assert stage.gate.desired.version == 0
        (pending,) = described["pending"]
        done = (await confirm(client, pending)).json()
        assert done["exit_status"] == 0
        assert stage.gate.desired.version == pending["resolved"]["version"]
        num_sent = len(stage.network.applied)
        assert (await confirm(client, pending)).json() == done
        assert_is_problem(await confirm(client, pending, is_agreed=False), 404)
        assert len(stage.network.applied) == num_sent
    (approval,) = stage.store.read(lambda c: list_approvals(c, policy_hash=pending["resolved"]["hash"]))
    assert approval.approver == "local"
    assert approval.used_us is not None


async def test_a_no_drops_the_change(chat, stage):
    async with chat.client() as client:
        pending = (await ask(client, "/goal delay_ms control 20")).json()["pending"][0]
        assert "Nothing changed" in (await confirm(client, pending, is_agreed=False)).json()["answer"]
        assert_is_problem(await confirm(client, pending), 404)
    assert stage.operations.goals.live() == ()


async def test_goals_are_set_and_cleared_through_the_servers_own_book(chat, stage):
    async with chat.client() as client:
        await confirm(client, (await ask(client, "/goal delay_ms control 20")).json()["pending"][0])
        assert [goal.id for _, _, goal in stage.operations.goals.live()] == ["chat-delay-ms-control"]
        assert (await client.get("/v1/goals/chat-delay-ms-control")).headers["etag"] == '"1"'
        (pending,) = (await ask(client, "/goal clear")).json()["pending"]
        assert pending["resolved"]["removes"] == ["delay ms 20 for control"]
        await confirm(client, pending)
    assert stage.operations.goals.live() == ()


async def test_a_rollback_needs_its_own_yes(chat, stage):
    async with chat.client() as client:
        session = (await ask(client, "/plan")).json()["session"]
        await confirm(client, (await ask(client, "/apply", session=session)).json()["pending"][0])
        in_force = stage.gate.desired.version
        (pending,) = (await ask(client, "/rollback", session=session)).json()["pending"]
        assert stage.gate.desired.version == in_force
        assert "Rolled back to version 0" in (await confirm(client, pending)).json()["answer"]
    assert stage.gate.desired.version == in_force + 1


async def test_a_word_on_something_else_is_refused(chat, stage):
    async with chat.client() as client:
        (pending,) = (await ask(client, "/goal delay_ms control 20")).json()["pending"]
        assert_is_problem(await confirm(client, pending, binding="0" * 64), 412)
        assert_is_problem(await confirm(client, pending, pending_id="0" * 16), 404)
    assert stage.operations.goals.live() == ()


async def test_what_has_changed_since_it_was_shown_is_refused(chat, stage):
    async with chat.client() as client:
        session = (await ask(client, "/plan")).json()["session"]
        (pending,) = (await ask(client, "/apply", session=session)).json()["pending"]
        await ask(client, "/plan", session=session)
        assert_is_problem(await confirm(client, pending), 409)
    assert stage.gate.desired.version == 0


async def test_a_word_that_comes_too_late_is_refused(chat, stage, clock):
    async with chat.client() as client:
        (pending,) = (await ask(client, "/goal delay_ms control 20")).json()["pending"]
        clock.now_s += 601.0
        assert_is_problem(await confirm(client, pending), 404)
    assert stage.operations.goals.live() == ()


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


async def test_an_operator_asks_and_another_approves(chat, stage):
    tokens = tokens_for(stage.operations, "operator", "approver")
    chat.says(calling("propose_plan"), calling("request_approval"), saying())
    async with chat.client(tokens["operator"]) as client, chat.client(tokens["approver"]) as approver:
        session = (await ask(client, "plan and have it approved")).json()["session"]
        refused = (await ask(client, "/apply", session=session)).json()
        assert "role approver is needed" in refused["answer"]
        assert refused["pending"] == []
        waiting = stage.gate.waiting(stage.operations.now_s)
        assert waiting is not None
        await confirm(approver, (await ask(approver, f"/approve {waiting.version}")).json()["pending"][0])
        assert stage.gate.desired.version == 0
        assert (await ask(client, "/apply", session=session)).json()["pending"] == []
        # What an approver said yes to, the operator may send out, and needs no second yes.
        assert stage.gate.desired.version == waiting.version


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


async def test_a_word_that_could_not_be_heard_yet_is_not_lost(chat, stage):
    async with chat.client() as client:
        answer = (await ask(client, "/goal delay_ms control 20")).json()
        (pending,) = answer["pending"]
        assert_is_problem(await confirm(client, pending, binding="0" * 64), 412)
        with held(chat, answer["session"]):
            assert_is_problem(await confirm(client, pending), 409)
        assert stage.operations.goals.live() == ()
        assert "Goal set" in (await confirm(client, pending)).json()["answer"]
    assert len(stage.operations.goals.live()) == 1


async def test_what_came_of_a_word_is_told_again_where_nobody_waited_for_it(chat, stage, monkeypatch):
    async with chat.client() as client:
        (pending,) = (await ask(client, "/goal delay_ms control 20")).json()["pending"]
        monkeypatch.setattr("api.routes.chat.TIMEOUT_S", 0.0)
        late = await confirm(client, pending)
        assert_is_problem(late, 503)
        assert "may have been made" in late.json()["detail"]
        monkeypatch.undo()
        while (told := await confirm(client, pending)).status_code == 409:
            pass
    assert "Goal set" in told.json()["answer"]
    assert len(stage.operations.goals.live()) == 1


async def test_a_yes_reaches_the_session_as_it_is_now(chat, stage):
    async with chat.client() as client:
        session = (await ask(client, "/plan")).json()["session"]
        (pending,) = (await ask(client, "/apply", session=session)).json()["pending"]
        await ask(client, "/status", session=session, read_only=True)
        assert (await confirm(client, pending)).json()["exit_status"] == 0
        assert stage.gate.desired.version == pending["resolved"]["version"]
        opened = chat.conversations._open[("local", session)]
        assert not opened.is_read_only
        assert opened.session.room.proposal is None


async def test_a_rejected_plan_is_rejected_for_everybody(chat, stage):
    async with chat.client() as client:
        answer = (await ask(client, "/plan")).json()
        policy = stage.store.read(list_policies)[0].policy
        (pending,) = (await ask(client, "/reject", session=answer["session"])).json()["pending"]
        assert "is rejected" in (await confirm(client, pending)).json()["answer"]
        path = f"/v1/policies/{policy.version}/submission"
        assert_is_problem(await client.post(path, json={"policy_hash": policy.content_hash()}), 409)
        (pending,) = (await ask(client, f"/apply {policy.version}")).json()["pending"]
        assert (await confirm(client, pending)).json()["exit_status"] == 4
    assert stage.gate.desired.version == 0


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


async def test_the_same_idempotency_key_confirms_once(chat, stage):
    async with chat.client() as client:
        (pending,) = (await ask(client, "/goal delay_ms control 20")).json()["pending"]
        body = {"pending_id": pending["id"], "binding": pending["binding"], "is_agreed": True}
        told = [
            await client.post("/v1/chat/confirmations", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
        ]
    assert [answer.status_code for answer in told] == [200, 200]
    assert told[0].json() == told[1].json()
    assert len(stage.operations.goals.live()) == 1


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


async def test_an_autonomous_server_dispatches_nothing_that_was_only_put_forward(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    built.operations.turn()
    chat = ChatStage(built)
    before = built.gate.desired.version
    chat.says(calling("propose_plan"), calling("request_approval"), saying())
    async with chat.client() as client:
        await ask(client, "plan and ask for approval")
    assert built.gate.desired.version == before
    chat.conversations.close()
    built.store.close()

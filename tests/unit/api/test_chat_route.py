"""The chat over REST: answers with evidence, changes only by a confirmed word, roles held to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.store.approvals import list_approvals
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
        assert_is_problem(await confirm(client, pending), 404)
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
        opened = chat.conversations._open[("local", session)]
        with opened.lock:
            assert_is_problem(await ask(client, "/status", session=session), 409)


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

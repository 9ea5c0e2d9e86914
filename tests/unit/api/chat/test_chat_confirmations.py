"""Changes through the chat over REST: only by a confirmed word, by who may, once."""

from __future__ import annotations

from agent.store.approvals import list_approvals
from agent.store.policies import list_policies
from tests.api_stage import build_stage
from tests.chat_stage import ChatStage, ask, calling, confirm, held, saying, tokens_for
from tests.unit.api.test_a1 import assert_is_problem


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
        assert pending["resolved"]["removes"] == ["control within 20 ms"]
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

"""A kept plan is submitted by its version and hash, approved, and dispatched once."""

from __future__ import annotations

import pytest

from agent.store.approvals import list_approvals
from tests.api_stage import Stage, build_stage, client_for
from tests.chat_stage import SUGGESTING, tokens_for
from tests.unit.api.test_a1 import assert_is_problem


@pytest.fixture
def stage(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock, SUGGESTING)
    built.operations.turn()
    yield built
    built.store.close()


async def kept_plan(client) -> dict[str, object]:
    answer = await client.post("/v1/plans", json={"keep": True})
    assert answer.status_code == 201
    return answer.json()


async def submit(client, plan: dict[str, object], headers: dict[str, str] | None = None, **more: object):
    version = plan["policy"]["version"]
    body = {"policy_hash": plan["policy_hash"], **more}
    return await client.post(f"/v1/policies/{version}/submission", json=body, headers=headers or {})


async def approve(client, plan: dict[str, object], **more: object):
    body = {"policy_version": plan["policy"]["version"], "policy_hash": plan["policy_hash"], "reason": "looks right"}
    return await client.post("/v1/approvals", json=body | more)


async def test_propose_submit_approve_dispatch(client, stage: Stage):
    plan = await kept_plan(client)
    version = plan["policy"]["version"]
    read = await client.get(f"/v1/policies/{version}")
    assert read.headers["etag"] == f'"{plan["policy_hash"]}"'
    assert read.json()["status"] == "proposed"
    assert_is_problem(await approve(client, plan), 409)
    waits = await submit(client, plan, {"If-Match": f'"0", {read.headers["etag"]}'})
    assert (waits.status_code, waits.json()["outcome"]["status"]) == (202, "awaiting_approval")
    assert stage.gate.desired.version == 0
    done = await approve(client, plan)
    assert (done.status_code, done.json()["outcome"]["status"]) == (201, "enforced")
    assert stage.gate.desired.version == version
    (approval,) = stage.store.read(lambda c: list_approvals(c, policy_hash=plan["policy_hash"]))
    assert approval.used_us is not None


async def test_another_hash_or_revision_is_refused(client, stage: Stage):
    plan = await kept_plan(client)
    assert_is_problem(await submit(client, plan | {"policy_hash": "0" * 64}), 409)
    for tag in ('"0"', "x*", '"*"', "*, x"):
        assert_is_problem(await submit(client, plan, {"If-Match": tag}), 412)
    assert_is_problem(await submit(client, plan | {"policy": {"version": 99}}), 404)
    await submit(client, plan)
    assert_is_problem(await approve(client, plan, policy_hash="0" * 64), 409)
    assert stage.gate.desired.version == 0


async def test_an_approval_serves_once_and_expires(client, stage: Stage, clock):
    first, second = await kept_plan(client), await kept_plan(client)
    await submit(client, first)
    await submit(client, second)
    stage.gate.approve(
        second["policy"]["version"],
        policy_hash=second["policy_hash"],
        now_s=stage.operations.now_s,
        approver="a",
        reason="r",
        lifetime_s=10.0,
    )
    clock.now_s += 11.0
    assert (await submit(client, second)).status_code == 202
    assert stage.gate.desired.version == 0
    assert (await approve(client, first)).status_code == 201
    before = len(stage.network.applied)
    assert_is_problem(await approve(client, first), 409)
    assert_is_problem(await approve(client, second), 409)
    assert len(stage.network.applied) == before


async def test_an_approval_that_nothing_goes_out_on_does_not_stand(client, stage: Stage):
    plan = await kept_plan(client)
    await submit(client, plan)
    await client.put("/v1/stops", json={"freeze_s": 60})
    for _ in range(2):
        told = assert_is_problem(await approve(client, plan), 409, "POLICY_REJECTED")
        assert told["detail"].startswith("changes are frozen")
        assert told["detail"].endswith("; the approval was withdrawn, approve again once it can go out")
    await client.put("/v1/stops", json={"freeze_s": 0})
    assert (await submit(client, plan)).status_code == 202
    assert stage.network.applied == []
    trail = [entry["kind"] for entry in (await client.get("/v1/audit")).json()["items"]]
    assert [kind for kind in trail if kind.startswith("approval_")] == ["approval_granted", "approval_withdrawn"] * 2
    stage.clock.now_s += 1.0
    assert (await approve(client, plan)).status_code == 201
    assert stage.network.applied == [plan["policy"]["version"]]
    read = (await client.get(f"/v1/policies/{plan['policy']['version']}")).json()
    assert [approval["used_us"] is not None for approval in read["approvals"]] == [True, False, False]


async def test_an_approval_that_was_given_before_is_not_withdrawn_with_another(client, stage: Stage):
    plan = await kept_plan(client)
    await submit(client, plan)
    version, policy_hash = plan["policy"]["version"], plan["policy_hash"]
    stage.operations.approve(version, policy_hash=policy_hash, approver="bob", reason="chat", lifetime_s=600.0)
    await client.put("/v1/stops", json={"freeze_s": 60})
    assert_is_problem(await approve(client, plan), 409)
    await client.put("/v1/stops", json={"freeze_s": 0})
    assert (await submit(client, plan)).status_code == 200


async def test_a_held_plan_waits_even_where_the_mode_asks_for_no_approval(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    built.operations.turn()
    before = built.gate.desired.version
    async with client_for(built.operations) as client:
        plan = await kept_plan(client)
        assert (await submit(client, plan, hold=True)).status_code == 202
        assert built.gate.desired.version == before
        assert (await approve(client, plan)).status_code == 201
        assert built.gate.desired.version == plan["policy"]["version"]
    (approval,) = built.store.read(lambda c: list_approvals(c, policy_hash=plan["policy_hash"]))
    assert approval.used_us is not None
    built.store.close()


async def test_the_same_key_submits_once(client, stage: Stage):
    plan = await kept_plan(client)
    told = [await submit(client, plan, {"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in told] == [202, 202]
    assert told[0].json() == told[1].json()


async def test_roles_are_held_to(stage: Stage):
    tokens = tokens_for(stage.operations, "viewer", "operator", "approver")
    headers = {role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}
    async with client_for(stage.operations) as client:
        client.headers = headers["viewer"]
        assert_is_problem(await client.post("/v1/plans", json={"keep": True}), 403)
        client.headers = headers["operator"]
        plan = await kept_plan(client)
        client.headers = headers["viewer"]
        assert_is_problem(await submit(client, plan), 403)
        client.headers = headers["operator"]
        assert (await submit(client, plan)).status_code == 202
        assert_is_problem(await approve(client, plan), 403)
        assert stage.gate.desired.version == 0
        client.headers = headers["approver"]
        assert (await approve(client, plan)).status_code == 201


async def test_only_a_plan_for_the_live_goals_is_kept(client):
    goal = {"id": "x", "expectations": [{"metric": "priority", "value": 3.0}]}
    assert_is_problem(await client.post("/v1/plans", json={"keep": True, "goals": [goal]}), 400)

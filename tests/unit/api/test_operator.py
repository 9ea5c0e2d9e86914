"""The operator API."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.dispatch.desired import DesiredState, target_of
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.store.tokens import create_token
from api.settings import ApiSettings
from tests.api_stage import TOPOLOGY, client_for
from tests.unit.api.test_a1 import BODY, POLICIES, assert_is_problem

GOAL = {"expectations": [{"metric": "priority", "value": 3.0, "slices": [{"sst": 2, "sd": 1}]}]}


async def test_topology_digests_kpis_and_schedules_are_shown(client, operations):
    assert (await client.get("/v1/digests")).json() == []
    operations.turn()
    assert len((await client.get("/v1/topology")).json()["cells"]) == 3
    assert {digest["cell"] for digest in (await client.get("/v1/digests")).json()} == {1, 2, 3}
    assert (await client.get("/v1/digests/2")).json()["cell"] == 2
    assert_is_problem(await client.get("/v1/digests/9"), 404)
    schedule = (await client.get("/v1/schedules/1")).json()
    assert sum(ratio["rRMPolicyMinRatio"] for ratio in schedule["RRMPolicyRatio"]) <= 100
    assert_is_problem(await client.get("/v1/schedules/9"), 404)
    assert {row["cell"] for row in (await client.get("/v1/kpis")).json()} == {1, 2, 3}
    assert all(target["is_settled"] for target in (await client.get("/v1/targets")).json())


async def test_a_kpi_row_says_whether_an_a1_guarantee_is_fulfilled(client, operations):
    await client.put(f"{POLICIES}/p1", json=BODY)
    operations.turn()
    rows = (await client.get("/v1/kpis")).json()
    assert {row["guaranteed_kbps"] for row in rows if row["slice"] == "2-000001"} == {5000}
    assert {row["is_fulfilled"] for row in rows if row["slice"] == "1-000001"} == {None}


async def test_a_goal_is_put_read_and_deleted_under_its_revision(client):
    created = await client.put("/v1/goals/g1", json=GOAL)
    assert created.status_code == 201
    assert created.headers["etag"] == '"1"'
    updated = await client.put("/v1/goals/g1", json={**GOAL, "priority": 5}, headers={"If-Match": '"1"'})
    assert (updated.status_code, updated.headers["etag"]) == (200, '"2"')
    assert_is_problem(await client.put("/v1/goals/g1", json=GOAL, headers={"If-Match": '"1"'}), 412)
    assert_is_problem(await client.put("/v1/goals/g2", json=GOAL, headers={"If-Match": "*"}), 412)
    assert (await client.get("/v1/goals/g1")).json()["goal"]["priority"] == 5
    assert_is_problem(await client.delete("/v1/goals/g1", headers={"If-Match": '"1"'}), 412)
    assert (await client.delete("/v1/goals/g1", headers={"If-Match": '"2"'})).status_code == 204
    assert_is_problem(await client.get("/v1/goals/g1"), 404)


async def test_a_goal_for_an_unknown_slice_is_refused(client):
    unknown = {"expectations": [{"metric": "priority", "value": 3.0, "slices": [{"sst": 9}]}]}
    assert_is_problem(await client.put("/v1/goals/g1", json=unknown), 400)


async def test_goals_over_a1_are_listed_beside_the_operators_own(client):
    await client.put("/v1/goals/g1", json=GOAL)
    await client.put(f"{POLICIES}/p1", json=BODY)
    listed = (await client.get("/v1/goals")).json()
    assert {(goal["id"], goal["policy_type"]) for goal in listed} == {
        ("g1", None),
        ("p1", "ORAN_SliceSLATarget_1.0.0"),
    }


async def test_a_plan_shows_policy_checks_and_changes_and_keeps_nothing(client, operations):
    assert_is_problem(await client.post("/v1/plans", json={}), 503)
    operations.turn()
    before = operations.gate.desired.version
    plan = (await client.post("/v1/plans", json={})).json()
    assert plan["policy"]["parent_version"] == before
    assert plan["checks"]["limits"] == "ok"
    what_if = {"goals": [{"id": "x", **GOAL}]}
    assert (await client.post("/v1/plans", json=what_if)).status_code == 200
    assert operations.gate.desired.version == before
    assert_is_problem(await client.post("/v1/plans", json={**what_if, "submit": True}), 400)


async def test_a_submitted_plan_is_dispatched(client, operations):
    operations.turn()
    plan = (await client.post("/v1/plans", json={"submit": True})).json()
    assert plan["outcome"] == {
        "version": plan["policy"]["version"],
        "status": "enforced",
        "applied": [1, 2, 3],
        "refused": [],
        "unchanged": [],
    }
    assert operations.gate.desired.version == plan["policy"]["version"]


async def test_the_same_idempotency_key_submits_once(client, operations):
    operations.turn()
    first = await client.post("/v1/plans", json={"submit": True}, headers={"Idempotency-Key": "k1"})
    again = await client.post("/v1/plans", json={"submit": True}, headers={"Idempotency-Key": "k1"})
    assert again.json() == first.json()
    other = await client.post("/v1/plans", json={}, headers={"Idempotency-Key": "k1"})
    assert_is_problem(other, 409, "IDEMPOTENCY_KEY_REUSED")


async def test_a_waiting_policy_is_shown_approved_by_its_hash_and_dispatched(client, stage):
    stage.gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    stage.operations.turn()
    (waiting,) = (await client.get("/v1/approvals")).json()
    assert waiting["changes"] is not None
    wrong = {"policy_version": waiting["policy_version"], "policy_hash": "0" * 64, "reason": "fine"}
    assert_is_problem(await client.post("/v1/approvals", json=wrong), 409)
    right = {**wrong, "policy_hash": waiting["policy_hash"]}
    approved = await client.post("/v1/approvals", json=right)
    assert approved.status_code == 201
    assert approved.json()["outcome"]["status"] == "enforced"
    assert (await client.get("/v1/approvals")).json() == []
    assert_is_problem(await client.post("/v1/approvals", json=right), 409)
    shown = (await client.get(f"/v1/policies/{waiting['policy_version']}")).json()
    assert shown["status"] == "enforced"
    assert shown["approvals"][0]["used_us"] is not None


async def test_a_waiting_policy_can_be_rejected(client, stage):
    stage.gate.set_stops(Stops(), actor="ann")
    stage.operations.turn()
    (waiting,) = (await client.get("/v1/approvals")).json()
    version = waiting["policy_version"]
    assert (await client.post(f"/v1/policies/{version}/rejection", json={"reason": "no"})).status_code == 204
    assert_is_problem(await client.post(f"/v1/policies/{version}/rejection", json={"reason": "no"}), 409)
    assert (await client.get(f"/v1/policies/{version}")).json()["status"] == "rejected"


async def test_policies_are_listed_by_pages_and_filters(client, operations):
    for _ in range(3):
        operations.turn()
    page = (await client.get("/v1/policies?limit=2")).json()
    assert [item["version"] for item in page["items"]] == [3, 2]
    rest = (await client.get(f"/v1/policies?limit=2&cursor={page['next']}")).json()
    assert [item["version"] for item in rest["items"]] == [1]
    assert rest["next"] is None
    assert (await client.get("/v1/policies?status=rejected")).json()["items"] == []
    assert_is_problem(await client.get("/v1/policies?status=nonsense"), 400)
    assert_is_problem(await client.get("/v1/policies?limit=0"), 400)
    status = (await client.get("/v1/policies/3/status")).json()
    assert {target["reported_version"] for target in status["targets"]} == {3}


async def test_a_rollback_brings_the_initial_state_back(client, stage):
    stage.operations.turn()
    changed = (await client.get("/v1/schedules/1")).json()
    assert_is_problem(await client.post("/v1/rollback", json={"to_version": 77, "reason": "typo"}), 409)
    response = await client.post("/v1/rollback", json={"to_version": 0, "reason": "start over"})
    assert response.status_code == 200
    assert (await client.get("/v1/schedules/1")).json() != changed


async def test_an_outcome_tells_of_every_cell_also_of_those_that_needed_no_change(client, stage):
    stage.operations.turn()
    policy, _ = stage.operations.propose()
    initial = DesiredState.initial(TOPOLOGY).actions
    back = tuple(initial[target_of(action)] for action in policy.actions if action.cell == 2)
    stage.operations.submit(policy.model_copy(update={"actions": back}), actor="ann")
    stage.network.down.add(3)
    told = (await client.post("/v1/rollback", json={"to_version": 0, "reason": "start over"})).json()
    assert (told["applied"], told["unchanged"]) == ([1], [2])
    assert told["refused"] == [{"cell": 3, "reason": "cell out of service"}]


async def test_the_kill_switch_stops_the_loop_and_an_operator_may_not_let_go(stage):
    operator_token = stage.store.write(
        lambda t: create_token(t, name="op", role="operator", lifetime_s=None, actor="ann")
    )
    approver_token = stage.store.write(
        lambda t: create_token(t, name="ann", role="approver", lifetime_s=None, actor="ann")
    )
    async with client_for(stage.operations) as client:
        assert_is_problem(await client.get("/v1/stops"), 401)
        operator = {"Authorization": f"Bearer {operator_token}"}
        approver = {"Authorization": f"Bearer {approver_token}"}
        assert (await client.put("/v1/stops", json={"is_killed": True}, headers=operator)).status_code == 200
        stage.operations.turn()
        assert stage.network.applied == []
        assert_is_problem(await client.put("/v1/stops", json={"is_killed": False}, headers=operator), 403)
        assert (await client.put("/v1/stops", json={"is_killed": False}, headers=approver)).status_code == 200
        stage.operations.turn()
        assert stage.network.applied == [1]


async def test_a_viewer_reads_and_changes_nothing(stage):
    token = stage.store.write(lambda t: create_token(t, name="v", role="viewer", lifetime_s=None, actor="ann"))
    async with client_for(stage.operations, ApiSettings(tokens_are_needed=True)) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        assert (await client.get("/v1/goals")).status_code == 200
        assert_is_problem(await client.put("/v1/goals/g1", json=GOAL), 403)
        assert_is_problem(await client.put(f"{POLICIES}/p1", json=BODY), 403)
        assert_is_problem(await client.post("/v1/plans", json={}), 403)
        client.headers["Authorization"] = "Bearer nonsense"
        assert_is_problem(await client.get("/v1/goals"), 401)


async def test_a_freeze_ends_by_itself(client, stage):
    frozen = (await client.put("/v1/stops", json={"freeze_s": 60})).json()
    assert frozen["freeze_until_unix_s"] == stage.clock.now_s + 60
    stage.operations.turn()
    assert stage.network.applied == []
    stage.clock.now_s += 61
    stage.operations.turn()
    assert stage.network.applied == [1]


async def test_the_audit_trail_is_read_by_pages_and_verified(client, operations):
    operations.turn()
    await client.put("/v1/goals/g1", json=GOAL)
    page = (await client.get("/v1/audit?limit=2")).json()
    assert [entry["seq"] for entry in page["items"]] == [1, 2]
    rest = (await client.get(f"/v1/audit?cursor={page['next']}")).json()
    assert rest["items"][0]["seq"] == 3
    report = (await client.get("/v1/audit/verification")).json()
    assert report["is_intact"]


async def test_listeners_hear_of_a_new_interval(client, operations):
    async def read() -> str:
        return (await client.get("/v1/events?max_events=2")).text

    reading = asyncio.create_task(read())
    while not operations.events:  # noqa: ASYNC110 (the server tells nobody when a listener has come)
        await asyncio.sleep(0)
    await asyncio.to_thread(operations.turn)
    text = await reading
    assert text.startswith("event: state\n")
    assert "policy_version" in text
    assert text.count("event: ") == 2


async def test_health_readiness_and_metrics(client, operations):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).status_code == 503
    operations.turn()
    assert (await client.get("/readyz")).status_code == 200
    text = (await client.get("/metrics")).text
    assert 'edgewright_dispatches_total{result="enforced"} 1.0' in text
    assert "edgewright_request_seconds_bucket" in text


async def test_a_correlation_id_comes_back(client):
    given = await client.get("/healthz", headers={"X-Correlation-Id": "abc-1"})
    assert given.headers["x-correlation-id"] == "abc-1"
    forged = await client.get("/healthz", headers={"X-Correlation-Id": 'a"b{}'})
    assert forged.headers["x-correlation-id"] != 'a"b{}'


async def test_the_openapi_document_shows_no_422(client):
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "422" not in json.dumps(
        [list(op["responses"]) for item in document["paths"].values() for op in item.values()]
    )


@pytest.mark.parametrize("path", ["/v1/policies/abc", "/v1/policies/-1", "/v1/digests/70000", "/v1/audit?cursor=x"])
async def test_bad_parameters_are_400_with_their_names(client, path):
    document = assert_is_problem(await client.get(path), 400)
    assert document["invalidParams"]

"""A1-P v2."""

from __future__ import annotations

import copy
import json

import pytest

from agent.gate.stops import Stops
from agent.store.audit_trail import verify_trail
from api.settings import ApiSettings
from tests.api_stage import build_stage, client_for

TYPES = "/A1-P/v2/policytypes"
POLICIES = f"{TYPES}/ORAN_SliceSLATarget_1.0.0/policies"
PLMN = {"mcc": "001", "mnc": "01"}
JSON = {"Content-Type": "application/json"}
BODY = {
    "scope": {"sliceId": {"sst": 2, "sd": "000001", "plmnId": PLMN}},
    "sliceSlaObjectives": {"guaDlThptPerSlice": 5000},
}


def with_objectives(**objectives) -> dict:
    return {**BODY, "sliceSlaObjectives": objectives}


def assert_is_problem(response, status: int, cause: str | None = None) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail", "cause"} <= set(document)
    if cause is not None:
        assert document["cause"] == cause
    return document


async def test_the_built_in_type_is_listed_with_its_schemas(client):
    assert (await client.get(TYPES)).json() == ["ORAN_SliceSLATarget_1.0.0"]
    document = (await client.get(f"{TYPES}/ORAN_SliceSLATarget_1.0.0")).json()
    assert set(document) == {"policySchema", "statusSchema"}
    assert_is_problem(await client.get(f"{TYPES}/other"), 404)


async def test_a_new_policy_is_created_with_its_location_and_read_back_as_it_was_put(client):
    response = await client.put(f"{POLICIES}/p1", json=BODY)
    assert response.status_code == 201
    assert response.headers["location"] == f"{POLICIES}/p1"
    assert response.json() == BODY
    assert (await client.get(f"{POLICIES}/p1")).json() == BODY
    assert (await client.get(POLICIES)).json() == ["p1"]


async def test_the_same_put_again_changes_nothing(client, operations):
    await client.put(f"{POLICIES}/p1", json=BODY)
    again = await client.put(f"{POLICIES}/p1", json=BODY)
    assert (again.status_code, again.json()) == (200, BODY)
    assert operations.goals.find("ORAN_SliceSLATarget_1.0.0", "p1").revision == 1


async def test_an_update_answers_200_with_the_new_body(client):
    await client.put(f"{POLICIES}/p1", json=BODY)
    changed = with_objectives(guaDlThptPerSlice=9000)
    response = await client.put(f"{POLICIES}/p1", json=changed)
    assert (response.status_code, response.json()) == (200, changed)


async def test_a_deleted_policy_is_gone(client):
    await client.put(f"{POLICIES}/p1", json=BODY)
    response = await client.delete(f"{POLICIES}/p1")
    assert (response.status_code, response.content) == (204, b"")
    for call in (client.get(f"{POLICIES}/p1"), client.get(f"{POLICIES}/p1/status"), client.delete(f"{POLICIES}/p1")):
        assert_is_problem(await call, 404)


async def status(client, policy_id: str = "p1") -> dict:
    return (await client.get(f"{POLICIES}/{policy_id}/status")).json()


async def test_a_policy_is_enforced_once_all_targets_applied_a_schedule_that_heeds_it(client, operations):
    await client.put(f"{POLICIES}/p1", json=BODY)
    assert await status(client) == {"enforceStatus": "NOT_ENFORCED", "enforceReason": "OTHER_REASON"}
    operations.turn()
    assert await status(client) == {"enforceStatus": "ENFORCED"}


async def test_an_update_is_not_enforced_until_the_next_schedule(client, operations):
    await client.put(f"{POLICIES}/p1", json=BODY)
    operations.turn()
    await client.put(f"{POLICIES}/p1", json=with_objectives(guaDlThptPerSlice=9000))
    assert (await status(client))["enforceStatus"] == "NOT_ENFORCED"
    operations.turn()
    assert await status(client) == {"enforceStatus": "ENFORCED"}


async def test_one_target_down_means_not_enforced_until_it_is_back(client, stage):
    await client.put(f"{POLICIES}/p1", json=BODY)
    stage.operations.turn()
    stage.network.down.add(2)
    stage.operations.turn()
    assert await status(client) == {"enforceStatus": "NOT_ENFORCED", "enforceReason": "OTHER_REASON"}
    stage.network.down.clear()
    stage.operations.turn()
    assert await status(client) == {"enforceStatus": "ENFORCED"}


async def test_a_policy_for_other_cells_does_not_mind_the_one_that_is_down(client, stage):
    here = {**BODY, "sliceSlaResources": {"cellIdList": [{"plmnId": PLMN, "cId": {"ncI": 1}}]}}
    await client.put(f"{POLICIES}/p1", json=here)
    stage.network.down.add(2)
    stage.operations.turn()
    assert await status(client) == {"enforceStatus": "ENFORCED"}


async def test_a_policy_that_awaits_approval_is_not_enforced(client, stage):
    stage.gate.set_stops(Stops(), actor="ann")
    await client.put(f"{POLICIES}/p1", json=BODY)
    stage.operations.turn()
    assert await status(client) == {"enforceStatus": "NOT_ENFORCED", "enforceReason": "OTHER_REASON"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scope": {"sliceId": {"sst": 9, "plmnId": PLMN}}}, "SCOPE_NOT_APPLICABLE"),
        ({"scope": {"sliceId": {"sst": 0, "plmnId": PLMN}}}, "SCOPE_NOT_APPLICABLE"),
        ({"sliceSlaResources": {"cellIdList": [{"plmnId": PLMN, "cId": {"ncI": 99}}]}}, "SCOPE_NOT_APPLICABLE"),
        ({"sliceSlaResources": {"taIList": [{"plmnId": PLMN, "tac": "000001"}]}}, "SCOPE_NOT_APPLICABLE"),
        ({"sliceSlaObjectives": {"maxNumberOfPduSessions": 5}}, "STATEMENT_NOT_APPLICABLE"),
        ({"sliceSlaObjectives": {"guaDlThptPerSlice": 5, "maxUlThptPerUe": 5}}, "STATEMENT_NOT_APPLICABLE"),
        ({"sliceSlaObjectives": {"maxDlThptPerUe": 0}}, "STATEMENT_NOT_APPLICABLE"),
    ],
)
async def test_what_cannot_be_enforced_here_is_kept_and_says_why(client, operations, change, reason):
    assert (await client.put(f"{POLICIES}/p1", json={**BODY, **change})).status_code == 201
    operations.turn()
    assert await status(client) == {"enforceStatus": "NOT_ENFORCED", "enforceReason": reason}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b'{"scope": NaN}', "body"),
        (b"[" * 100_000, "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (json.dumps({}).encode(), "scope"),
        (json.dumps({**BODY, "extra": 1}).encode(), "extra"),
        (json.dumps({**BODY, "sliceSlaObjectives": {}}).encode(), "sliceSlaObjectives"),
        (json.dumps({**BODY, "sliceSlaObjectives": {"guaDlThptPerSlice": -1}}).encode(), "guaDlThptPerSlice"),
        (json.dumps({**BODY, "sliceSlaObjectives": {"guaDlThptPerSlice": "5"}}).encode(), "guaDlThptPerSlice"),
        (json.dumps({**BODY, "sliceSlaObjectives": {"guaDlThptPerSlice": 1e400}}).encode(), "body"),
        (json.dumps({**BODY, "sliceSlaObjectives": {"guaDlThptPerSlice": None}}).encode(), "sliceSlaObjectives"),
    ],
)
async def test_a_malformed_body_is_a_400_that_names_the_place_and_keeps_nothing(client, body, param):
    document = assert_is_problem(await client.put(f"{POLICIES}/p1", content=body, headers=JSON), 400)
    assert any(param in fault["param"] for fault in document["invalidParams"])
    assert (await client.get(POLICIES)).json() == []


@pytest.mark.parametrize("bad_id", ["a%2Fb", "..", "%2e%2e", "a%00b", "a%0ab", "a%5cb", "a b", "x" * 129, "a%"])
async def test_an_id_with_slashes_dots_or_control_characters_is_refused(client, bad_id):
    response = await client.put(f"{POLICIES}/{bad_id}", json=BODY)
    assert response.status_code in (400, 404, 405)
    assert response.headers["content-type"] == "application/problem+json"
    assert (await client.get(POLICIES)).json() == []


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(client):
    assert_is_problem(await client.get("/nope"), 404)
    response = await client.post(f"{POLICIES}/p1", json=BODY)
    assert_is_problem(response, 405)
    assert "PUT" in response.headers["allow"]


async def test_a_body_beyond_the_limit_is_refused(operations):
    async with client_for(operations, ApiSettings(max_body_bytes=100)) as client:
        assert_is_problem(await client.put(f"{POLICIES}/p1", content=b"x" * 101), 413)


async def test_a_full_book_answers_507_but_takes_updates(operations):
    async with client_for(operations, ApiSettings(max_goals=1)) as client:
        await client.put(f"{POLICIES}/p1", json=BODY)
        assert_is_problem(await client.put(f"{POLICIES}/p2", json=BODY), 507, "INSUFFICIENT_RESOURCES")
        assert (await client.put(f"{POLICIES}/p1", json=with_objectives(guaDlThptPerSlice=1))).status_code == 200


async def test_a_flood_is_429_but_503_for_a_policy_that_is_known(operations):
    async with client_for(operations, ApiSettings(requests_per_s=1e-6, burst=2)) as client:
        await client.put(f"{POLICIES}/p1", json=BODY)
        await client.get(POLICIES)
        assert_is_problem(await client.get(POLICIES), 429)
        assert_is_problem(await client.put(f"{POLICIES}/p1", json=BODY), 503)
        assert_is_problem(await client.put(f"{POLICIES}/p2", json=BODY), 429)


async def test_a_missing_token_is_401_but_503_for_a_policy_that_is_known(operations):
    async with client_for(operations) as client:
        await client.put(f"{POLICIES}/p1", json=BODY)
    async with client_for(operations, ApiSettings(tokens_are_needed=True)) as client:
        response = await client.get(POLICIES)
        assert_is_problem(response, 401, "UNAUTHENTICATED")
        assert response.headers["www-authenticate"] == "Bearer"
        assert_is_problem(await client.put(f"{POLICIES}/p1", json=BODY), 503)


async def test_goals_survive_a_restart_with_their_status(tmp_path, clock):
    url = f"sqlite:///{tmp_path}/store.db"
    first = build_stage(url, clock)
    async with client_for(first.operations) as client:
        await client.put(f"{POLICIES}/p1", json=BODY)
    first.operations.turn()
    first.store.close()
    second = build_stage(url, clock)
    second.gate.resume()
    async with client_for(second.operations) as client:
        assert (await client.get(f"{POLICIES}/p1")).json() == BODY
        assert await status(client) == {"enforceStatus": "ENFORCED"}
        second.operations.turn()
        assert await status(client) == {"enforceStatus": "ENFORCED"}
    assert second.store.read(verify_trail).is_intact
    second.store.close()


async def test_concurrent_puts_of_one_policy_end_with_one_of_them(client):
    import asyncio

    bodies = [with_objectives(guaDlThptPerSlice=number) for number in range(1, 21)]
    responses = await asyncio.gather(*(client.put(f"{POLICIES}/p1", json=copy.deepcopy(body)) for body in bodies))
    assert {response.status_code for response in responses} <= {200, 201}
    assert (await client.get(f"{POLICIES}/p1")).json() in bodies

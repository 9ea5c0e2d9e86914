"""The emulation of O-RAN's A1 simulator: its test script's calls, in its order, with its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from api.settings import ApiSettings
from tests.api_stage import client_for

TYPES = "/A1-P/v2/policytypes"
TYPE_1 = {
    "policySchema": {
        "type": "object",
        "properties": {"scope": {"type": "object"}, "qos": {"type": "object"}},
        "additionalProperties": False,
        "required": ["scope"],
    },
    "statusSchema": {"type": "object"},
}
BODY = {"scope": {"ueId": "ue3100"}, "qos": {"priority": 12}}


@pytest.fixture
async def simulator(operations) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(operations, ApiSettings(simulator_mode=True)) as made:
        yield made


async def test_it_is_off_by_default(client):
    assert (await client.post("/deleteall")).status_code == 404
    assert (await client.get("/")).status_code == 404


async def test_the_scripts_calls_get_the_simulators_answers(simulator):
    async def call(method, path, status, expected=None, **extra):
        response = await simulator.request(method, path, **extra)
        assert response.status_code == status, (method, path, response.text)
        if expected is not None:
            got = response.json() if isinstance(expected, dict | list) else response.text
            assert got == expected

    policies = f"{TYPES}/STD_1/policies"
    await call("GET", "/", 200, "OK")
    await call("POST", "/deleteinstances", 200, "All policy instances deleted")
    await call("POST", "/deleteall", 200, "All policy instances and types deleted")
    await call("GET", "/counter/interface", 200, "STD_2.0.0")
    await call("GET", "/counter/num_types", 200, "0")
    await call("GET", TYPES, 200, [])
    missing = {"title": "The policy type does not exist.", "status": 404, "instance": "1"}
    await call("GET", f"{TYPES}/1/policies", 404, missing)
    await call("PUT", "/policytype?id=STD_1", 201, "Policy type STD_1 is OK.", json=TYPE_1)
    await call("PUT", "/policytype?id=STD_1", 200, "Policy type STD_1 is OK.", json=TYPE_1)
    await call("GET", TYPES, 200, ["STD_1"])
    await call("DELETE", "/policytype?id=STD_1", 204, "")
    await call("GET", TYPES, 200, [])
    await call("PUT", "/policytype?id=STD_1", 201, json=TYPE_1)
    await call("GET", f"{TYPES}/STD_1", 200, TYPE_1)
    await call("PUT", f"{policies}/pi1", 201, BODY, json=BODY)
    await call("GET", f"{policies}/pi1", 200, BODY)
    await call("PUT", f"{policies}/pi1", 200, BODY, json=BODY)
    await call("PUT", f"{policies}/pi9", 400, json={"qos": {}})
    await call("PUT", "/policytype?id=STD_2", 201, json=TYPE_1)
    taken = {"title": "The policy id already exist for other policy type.", "status": 400, "instance": "pi1"}
    await call("PUT", f"{TYPES}/STD_2/policies/pi1", 400, taken, json=BODY)
    await call("GET", "/counter/num_instances", 200, "1")
    await call("POST", "/forceresponse?code=409", 200)
    conflict = {
        "title": "Conflict",
        "status": 409,
        "detail": "Request could not be processed in the current state of the resource",
    }
    await call("GET", policies, 409, conflict)
    await call("GET", f"{policies}/pi1/status", 200, {"enforceStatus": "", "enforceReason": ""})
    await call("POST", "/forcedelay", 200, "Force delay: None sec set for all A1 responses")
    await call("PUT", "/status?policyid=pi1&status=OK", 200, "Status set to OK for policy: pi1")
    await call("GET", f"{policies}/pi1/status", 200, {"enforceStatus": "OK"})
    await call(
        "PUT", "/status?policyid=pi1&status=NOTOK&reason=why", 200, "Status set to NOTOK and why for policy: pi1"
    )
    await call("GET", f"{policies}/pi1/status", 200, {"enforceStatus": "NOTOK", "enforceReason": "why"})
    await call("GET", "/counter/datadelivery", 200, "0")
    await call("POST", "/datadelivery", 200, "", json={})
    await call("GET", "/counter/datadelivery", 200, "1")
    await call("DELETE", f"{policies}/pi1", 204, "")
    await call("GET", policies, 200, [])
    await call("GET", "/counter/remote_hosts", 200, "127.0.0.1")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/policytype", 400),
        ("PUT", "/policytype?id=x", 400),
        ("DELETE", "/policytype", 400),
        ("PUT", "/status?policyid=none&status=OK", 404),
        ("PUT", "/status", 400),
        ("POST", "/sendstatus", 400),
        ("POST", "/sendstatus?policyid=none", 404),
        ("GET", "/counter/other", 404),
        ("POST", "/datadelivery", 400),
        ("POST", "/forceresponse?code=abc", 400),
        ("POST", "/forcedelay?delay=99999", 400),
    ],
)
async def test_malformed_admin_calls_are_refused(simulator, method, path, status):
    assert (await simulator.request(method, path)).status_code == status


async def test_the_operator_api_stays_as_it_is(simulator, operations):
    operations.turn()
    assert (await simulator.get("/v1/topology")).status_code == 200
    assert (await simulator.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    "schema",
    [{"properties": [1]}, {"properties": 1}, {"required": 1}, {"properties": [1], "additionalProperties": False}],
)
async def test_a_schema_that_is_none_refuses_no_policy_by_a_defect(simulator, schema):
    await simulator.put("/policytype?id=t", json={"policySchema": {"type": "object", **schema}})
    answer = await simulator.put(f"{TYPES}/t/policies/p", json=BODY)
    assert answer.status_code in (201, 400)


async def test_deep_schemas_and_bodies_are_no_defect(simulator):
    schema, body = {"type": "object"}, {}
    for _ in range(450):
        schema, body = {"type": "object", "properties": {"a": schema}}, {"a": body}
    await simulator.put("/policytype?id=t", json={"policySchema": schema})
    assert (await simulator.put(f"{TYPES}/t/policies/p", json=body)).status_code < 500


async def test_types_beyond_the_limit_are_refused_and_known_ones_may_change(simulator, monkeypatch):
    monkeypatch.setattr("api.simulator_state._MAX_TYPES", 2)
    for name in ("t1", "t2"):
        assert (await simulator.put(f"/policytype?id={name}", json=TYPE_1)).status_code == 201
    assert (await simulator.put("/policytype?id=t3", json=TYPE_1)).status_code == 507
    assert (await simulator.get(TYPES)).json() == ["t1", "t2"]
    assert (await simulator.put("/policytype?id=t1", json=TYPE_1)).status_code == 200
    assert (await simulator.put(f"{TYPES}/t1/policies/p", json=BODY)).status_code == 201

"""A query parameter that a route of /v1 does not know is refused with its name, whatever the route."""

from __future__ import annotations

import re

import pytest

from tests.unit.api.test_a1 import TYPES, assert_is_problem


async def test_a_misspelt_pager_is_told_the_right_names(client, operations):
    operations.turn()
    told = assert_is_problem(await client.get("/v1/audit?after=99999&limit=2"), 400)
    assert told["detail"] == "unknown query parameter 'after'; allowed: cursor, limit"
    assert told["invalidParams"] == [{"param": "after", "reason": "unknown query parameter; allowed: cursor, limit"}]


async def test_each_unknown_parameter_is_named_once(client):
    told = assert_is_problem(await client.get("/v1/kpis?nonsense=1&more=2&more=3"), 400)
    assert told["detail"] == "unknown query parameters 'nonsense', 'more'; none is allowed here"
    assert [fault["param"] for fault in told["invalidParams"]] == ["nonsense", "more"]


async def test_a_long_or_hostile_name_is_told_in_part(client):
    told = assert_is_problem(await client.get("/v1/kpis", params={"\u202e\x00" + "A" * 3000: "1"}), 400)
    assert len(told["detail"]) < 200
    many = assert_is_problem(await client.get("/v1/kpis", params={f"n{i}": "1" for i in range(200)}), 400)
    assert len(many["invalidParams"]) == 20


async def test_every_route_of_v1_refuses_what_it_does_not_know(client):
    paths = (await client.get("/openapi.json")).json()["paths"]
    routes = [(method, path) for path, item in paths.items() if path.startswith("/v1/") for method in item]
    assert len(routes) > 25
    for method, path in routes:
        known = sorted(field["name"] for field in paths[path][method].get("parameters", ()) if field["in"] == "query")
        allowed = f"allowed: {', '.join(known)}" if known else "none is allowed here"
        answer = await client.request(method, f"{re.sub('{.*?}', '1', path)}?nonsense=1")
        told = assert_is_problem(answer, 400)
        assert told["detail"] == f"unknown query parameter 'nonsense'; {allowed}", (method, path)


@pytest.mark.parametrize("path", [TYPES, f"{TYPES}/ORAN_SliceSLATarget_1.0.0/policies", "/healthz", "/metrics"])
async def test_a1_and_health_take_any_parameter_as_before(client, path):
    assert (await client.get(f"{path}?nonsense=1")).status_code == 200

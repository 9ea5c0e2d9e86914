"""Operators' goals and those that came over A1-P, as `/v1/goals` takes and tells them."""

from __future__ import annotations

import pytest

from agent.store.goals import OPERATOR_TYPE, find_goal
from tests.api_stage import build_stage
from tests.unit.api.test_a1 import BODY, PLMN, POLICIES, assert_is_problem, with_objectives
from tests.unit.api.test_operator import GOAL

WANTED = GOAL["expectations"][0]


async def listed(client) -> dict[str, dict]:
    return {row["href"]: row for row in (await client.get("/v1/goals")).json()}


@pytest.mark.parametrize("value", [True, "2"])
async def test_a_value_that_is_no_number_is_refused_wherever_a_goal_comes_in(client, operations, value):
    operations.turn()
    goal = {"expectations": [{**WANTED, "value": value}]}
    assert_is_problem(await client.put("/v1/goals/g1", json=goal), 400)
    assert_is_problem(await client.post("/v1/plans", json={"goals": [{"id": "g1", **goal}]}), 400)
    assert_is_problem(await client.put(f"{POLICIES}/p1", json=with_objectives(guaDlThptPerSlice=value)), 400)
    assert await listed(client) == {}


@pytest.mark.parametrize("fault", [{"priority": "1"}, {"priority": True}, {"valid_until_s": "9"}, {"expectations": []}])
async def test_a_goal_that_asks_for_nothing_or_in_other_than_numbers_is_refused(client, fault):
    told = assert_is_problem(await client.put("/v1/goals/g1", json={**GOAL, **fault}), 400)
    assert told["invalidParams"][0]["param"] == next(iter(fault))


async def test_a_goal_whose_one_expectation_is_wrong_has_one_fault(client):
    wrong = {"expectations": [{**WANTED, "metric": "speed"}]}
    told = assert_is_problem(await client.put("/v1/goals/g1", json=wrong), 400)
    assert told["detail"] == "1 fault in the body"
    assert [fault["param"] for fault in told["invalidParams"]] == ["expectations.0.metric"]
    told = assert_is_problem(await client.put("/v1/goals/g1", json={**wrong, "priority": "1"}), 400)
    assert told["detail"] == "2 faults in the body"
    told = assert_is_problem(await client.put("/v1/goals/g1", json={"expectations": [], "priority": "1"}), 400)
    assert [fault["param"] for fault in told["invalidParams"]] == ["expectations", "priority"]


async def test_a_goal_says_what_it_waits_for_until_a_policy_that_was_planned_with_it_is_dispatched(client, operations):
    waits = ("NOT_ENFORCED", "OTHER_REASON", "waits for the dispatch of a policy that was planned with it")

    def told(row: dict) -> tuple:
        return tuple(row[name] for name in ("enforce_status", "enforce_reason", "enforce_detail"))

    await client.put(f"{POLICIES}/p1", json=BODY)
    assert told((await client.put("/v1/goals/g1", json=GOAL)).json()) == waits
    assert {told(row) for row in (await listed(client)).values()} == {waits}
    status = (await client.get(f"{POLICIES}/p1/status")).json()
    assert status == {"enforceStatus": "NOT_ENFORCED", "enforceReason": "OTHER_REASON"}
    operations.turn()
    assert {told(row) for row in (await listed(client)).values()} == {("ENFORCED", None, None)}
    operations.goals.note_shortfalls({(OPERATOR_TYPE, "g1"): "of the revision before"})
    assert told((await client.put("/v1/goals/g1", json={**GOAL, "priority": 5})).json()) == waits


async def test_a_goal_says_which_cells_it_waits_for(client, stage):
    stage.network.down.add(2)
    await client.put("/v1/goals/g1", json=GOAL)
    await client.put("/v1/goals/g2", json={"expectations": [{**WANTED, "cells": [1, 3]}]})
    stage.operations.turn()
    rows = await listed(client)
    assert rows["/v1/goals/g1"]["enforce_detail"] == "waits for cell 2 to confirm its policy"
    assert [row["enforce_status"] for row in rows.values()] == ["NOT_ENFORCED", "ENFORCED"]
    stage.network.down.clear()
    stage.operations.turn()
    assert [row["enforce_detail"] for row in (await listed(client)).values()] == [None, None]


async def test_a_goal_that_ended_in_the_past_is_refused(client, operations):
    operations.turn()
    past = {**GOAL, "valid_until_s": operations.now_s}
    for answer in (
        await client.put("/v1/goals/g1", json=past),
        await client.post("/v1/plans", json={"goals": [{"id": "g1", **past}]}),
    ):
        told = assert_is_problem(answer, 400)
        assert told["invalidParams"][0]["param"] == "valid_until_s"
        assert "10 has passed: it is 10 s" in told["detail"]
    assert (await client.put("/v1/goals/g1", json={**past, "valid_until_s": 10.5})).status_code == 201


async def test_a_goal_that_has_expired_is_told_so_and_asks_for_nothing(client, operations):
    await client.put("/v1/goals/g1", json={**GOAL, "valid_until_s": 15.0})
    operations.turn()
    (row,) = (await listed(client)).values()
    assert (row["enforce_status"], row["is_expired"], row["enforce_detail"]) == ("ENFORCED", False, None)
    operations.turn()
    (row,) = (await listed(client)).values()
    assert (row["enforce_status"], row["is_expired"]) == ("NOT_ENFORCED", True)
    assert row["enforce_detail"] == "expired at 15 s of the network's time, it is 20 s"
    assert operations.goals.live_goals() == ()
    assert (await client.delete("/v1/goals/g1")).status_code == 204


async def test_what_a_get_tells_of_a_goal_can_be_put_back(client):
    await client.put("/v1/goals/g1", json=GOAL)
    told = (await client.get("/v1/goals/g1")).json()["goal"]
    assert told["id"] == "g1"
    again = await client.put("/v1/goals/g1", json=told)
    assert (again.status_code, again.json()["revision"]) == (200, 1)
    other = assert_is_problem(await client.put("/v1/goals/g2", json=told), 400)
    assert other["invalidParams"][0]["param"] == "id"
    assert "'g1', the path says 'g2'" in other["detail"]


async def test_a_policy_over_a1_is_listed_with_where_it_lives_and_found_there_alone(client):
    await client.put(f"{POLICIES}/p1", json=BODY)
    row = (await listed(client))[f"{POLICIES}/p1"]
    assert row["policy_type"] == "ORAN_SliceSLATarget_1.0.0"
    for answer in (await client.get("/v1/goals/p1"), await client.delete("/v1/goals/p1")):
        assert f"came over A1-P and lives at {POLICIES}/p1" in assert_is_problem(answer, 404)["detail"]
    assert "take another id" in assert_is_problem(await client.put("/v1/goals/p1", json=GOAL), 409)["detail"]
    assert (await client.delete(row["href"])).status_code == 204


async def test_an_a1_policy_may_have_the_id_of_an_operators_goal_and_each_is_listed_where_it_lives(client):
    await client.put("/v1/goals/p1", json=GOAL)
    await client.put(f"{POLICIES}/p1", json=BODY)
    assert set(await listed(client)) == {"/v1/goals/p1", f"{POLICIES}/p1"}
    assert (await client.put("/v1/goals/p1", json={**GOAL, "priority": 2})).status_code == 200
    assert (await client.get("/v1/goals/p1")).json()["policy_type"] is None


async def test_a_goal_over_a1_tells_the_rate_that_was_asked_for(client):
    for name, rate_kbps in (("p1", 5000), ("p2", 50_000)):
        await client.put(f"{POLICIES}/{name}", json=with_objectives(guaDlThptPerSlice=rate_kbps))
    here = {"sliceSlaResources": {"cellIdList": [{"plmnId": PLMN, "cId": {"ncI": 2}}]}}
    await client.put(f"{POLICIES}/p3", json={**with_objectives(maxDlThptPerUe=1500), **here})
    await client.put("/v1/goals/g1", json=GOAL)
    rows = await listed(client)
    assert [rows[f"{POLICIES}/{name}"]["asked"] for name in ("p1", "p2", "p3")] == [
        {"guaDlThptPerSlice": 5000.0},
        {"guaDlThptPerSlice": 50_000.0},
        {"maxDlThptPerUe": 1500.0},
    ]
    assert [row["description"] for row in rows.values()] == [
        None,
        "slice 2-000001: guaDlThptPerSlice 5000 kbit/s over all cells",
        "slice 2-000001: guaDlThptPerSlice 50000 kbit/s over all cells",
        "slice 2-000001: maxDlThptPerUe 1500 kbit/s over cells 2",
    ]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"sliceSlaObjectives": {"maxUlThptPerUe": 5}}, "maxUlThptPerUe can't be enforced here, only guaDl"),
        ({"sliceSlaObjectives": {"maxDlThptPerUe": 0}}, "maxDlThptPerUe 0 kbit/s: 1 to 10000000 can be"),
        ({"sliceSlaObjectives": {"guaDlThptPerSlice": 1e9}}, "guaDlThptPerSlice 1000000000 kbit/s: the cells in"),
        (
            {"scope": {"sliceId": {"sst": 9, "plmnId": PLMN}}},
            "scope.sliceId names no slice, or none alone; slices are 1-",
        ),
        ({"sliceSlaResources": {"taIList": [{"plmnId": PLMN, "tac": "000001"}]}}, "sliceSlaResources: a cellIdList of"),
    ],
)
async def test_what_of_a_policy_is_not_applicable_is_told(client, operations, change, detail):
    await client.put(f"{POLICIES}/p1", json={**BODY, **change})
    operations.turn()
    (row,) = (await listed(client)).values()
    assert row["enforce_reason"].endswith("_NOT_APPLICABLE")
    assert row["enforce_detail"].startswith(detail)


async def test_a_goal_that_an_earlier_version_let_in_is_kept_but_not_enforced(client, stage, tmp_path, clock):
    await client.put("/v1/goals/g1", json=GOAL)
    emptied = 'UPDATE goals SET goal = \'{"id": "g1", "expectations": []}\''
    stage.store.write(lambda t: t.connection.exec_driver_sql(emptied) and None)
    assert stage.store.read(lambda c: find_goal(c, OPERATOR_TYPE, "g1")).goal is None
    again = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    again.operations.turn()
    assert again.operations.goals.find(OPERATOR_TYPE, "g1").status == "NOT_ENFORCED"
    again.store.close()


async def test_versions_that_others_followed_are_listed_as_superseded(client, operations):
    for _ in range(3):
        operations.turn()
    items = (await client.get("/v1/policies")).json()["items"]
    assert [(row["version"], row["status"]) for row in items] == [(3, "enforced"), (2, "superseded"), (1, "superseded")]
    found = (await client.get("/v1/policies?status=superseded")).json()["items"]
    assert [row["version"] for row in found] == [2, 1]

"""Goals whose revisions change between a look and a write."""

from __future__ import annotations

import asyncio

from agent.store.goals import OPERATOR_TYPE, find_goal
from tests.api_stage import PausedWriter
from tests.unit.api.test_a1 import assert_is_problem
from tests.unit.api.test_operator import GOAL

PATH = "/v1/goals/g1"
AT_1 = {"If-Match": '"1"'}


async def test_of_two_puts_over_the_same_revision_one_is_refused(client, stage):
    await client.put(PATH, json=GOAL)
    with PausedWriter(stage.store) as writer:
        put = [asyncio.create_task(client.put(PATH, json={**GOAL, "priority": n}, headers=AT_1)) for n in (5, 6)]
        await writer.has(2)
    answers = sorted(await asyncio.gather(*put), key=lambda answer: answer.status_code)
    assert answers[0].status_code == 200
    assert_is_problem(answers[1], 412)
    kept = (await client.get(PATH)).json()
    assert (kept["revision"], kept["goal"]) == (2, answers[0].json()["goal"])


async def test_a_goal_that_changes_meanwhile_is_not_deleted(client, stage):
    await client.put(PATH, json=GOAL)
    with PausedWriter(stage.store) as writer:
        put = asyncio.create_task(client.put(PATH, json={**GOAL, "priority": 5}))
        await writer.has(1)
        deleted = asyncio.create_task(client.delete(PATH, headers=AT_1))
        await writer.has(2)
    assert (await put).status_code == 200
    assert_is_problem(await deleted, 412)
    assert (await client.get(PATH)).json()["revision"] == 2


async def test_any_revision_serves_where_if_match_is_a_star(client, stage):
    await client.put(PATH, json=GOAL)
    with PausedWriter(stage.store) as writer:
        put = [
            asyncio.create_task(client.put(PATH, json={**GOAL, "priority": n}, headers={"If-Match": "*"}))
            for n in (5, 6)
        ]
        await writer.has(2)
    assert {(await answer).status_code for answer in put} == {200}
    assert (await client.get(PATH)).json()["revision"] == 3


async def test_an_old_revisions_status_does_not_land_on_a_newer_one(client, stage):
    goals, key = stage.operations.goals, (OPERATOR_TYPE, "g1")
    await client.put(PATH, json=GOAL)
    with PausedWriter(stage.store) as writer:
        put = asyncio.create_task(client.put(PATH, json={**GOAL, "priority": 5}))
        await writer.has(1)
        goals.planned([goals.find(*key).goal], version=1)
        (change,) = goals.refresh(stage.operations.states())
        await writer.has(2)
        assert (change.goal.revision, change.goal.status) == (1, "ENFORCED")
    await put
    stage.store.write(lambda _: None)
    kept = stage.store.read(lambda connection: find_goal(connection, *key))
    assert (kept.revision, kept.status) == (2, "NOT_ENFORCED")

"""Operators' switches under requests that come together."""

from __future__ import annotations

import asyncio

from agent.gate.stops import Stops
from tests.api_stage import PausedWriter, client_for
from tests.chat_stage import tokens_for
from tests.unit.api.test_a1 import assert_is_problem


async def test_a_kill_and_a_freeze_at_once_both_hold(client, stage):
    bodies = [{"is_killed": True}, {"freeze_s": 60}]
    with PausedWriter(stage.store) as writer:
        put = [asyncio.create_task(client.put("/v1/stops", json=body)) for body in bodies]
        await writer.has(2)
    answers = await asyncio.gather(*put)
    stops = stage.gate.stops()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (stops.is_killed, stops.freeze_until_unix_s) == (True, stage.clock.now_s + 60)


async def test_an_operator_can_not_let_go_of_a_stop_that_is_set_meanwhile(stage):
    tokens = tokens_for(stage.operations, "operator", "approver")
    async with client_for(stage.operations) as client:
        stage.gate.set_stops(Stops(mode=stage.gate.stops().mode, freeze_until_unix_s=stage.clock.now_s + 10), actor="a")

        async def put(role: str, body: dict[str, object]):
            return await client.put("/v1/stops", json=body, headers={"Authorization": f"Bearer {tokens[role]}"})

        with PausedWriter(stage.store) as writer:
            longer = asyncio.create_task(put("approver", {"freeze_s": 600}))
            await writer.has(1)
            shorter = asyncio.create_task(put("operator", {"freeze_s": 60}))
            await writer.has(2)
        assert (await longer).status_code == 200
        assert_is_problem(await shorter, 403)
    assert stage.gate.stops().freeze_until_unix_s == stage.clock.now_s + 600

"""Operators' switches under requests that come together."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.store.tokens import TokenOwner
from api.served_room import ServedChanges
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


async def test_while_killed_an_approvers_rollback_is_all_that_is_dispatched_and_all_say_so(stage):
    tokens = tokens_for(stage.operations, "operator", "approver")
    stage.operations.turn()
    async with client_for(stage.operations) as client:
        headers = {role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}
        assert (await client.get("/readyz")).json()["is_killed"] is False
        await client.put("/v1/stops", json={"is_killed": True}, headers=headers["operator"])
        assert (await client.get("/readyz")).json()["is_killed"] is True
        state = (await client.get("/v1/events?max_events=1", headers=headers["operator"])).text
        assert json.loads(state.partition("data: ")[2])["is_killed"] is True
        stage.operations.turn()
        back = {"to_version": 0, "reason": "complaints"}
        for path, body in (("/v1/plans", {"submit": True}), ("/v1/rollback", back)):
            told = assert_is_problem(await client.post(path, json=body, headers=headers["operator"]), 409)
            assert "until an approver turns it off" in told["detail"]
            assert "but an approver's rollback" in told["detail"]
        assert stage.network.applied == [1]
        answer = await client.post("/v1/rollback", json=back, headers=headers["approver"])
        assert answer.json()["status"] == "enforced"
    assert stage.network.applied == [1, 2]


async def test_a_chat_of_an_operator_is_told_who_may_roll_back_while_killed(stage):
    changes = ServedChanges(operations=stage.operations, caller=TokenOwner(name="bob", role="operator"), max_goals=10)
    assert changes.refusal("roll_back", is_approved=False) == ""
    stage.gate.set_stops(Stops(is_killed=True), actor="ann")
    assert "role approver is needed to roll back" in changes.refusal("roll_back", is_approved=False)


async def test_a_maintenance_window_names_cells_that_are_there(client, stage):
    window = {"start_unix_s": 0, "end_unix_s": 10, "cells": [1, 99]}
    told = assert_is_problem(await client.put("/v1/stops", json={"maintenance": [window]}), 400)
    assert told["invalidParams"][0]["param"] == "maintenance.0.cells"
    assert "99 is unknown; cells are [1, 2, 3]" in told["detail"]
    assert stage.gate.stops().maintenance == ()
    known = {**window, "cells": [1, 2]}
    assert (await client.put("/v1/stops", json={"maintenance": [known]})).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"is_killed": "true"},
        {"is_killed": 1},
        {"freeze_s": "60"},
        {"freeze_s": True},
        {"maintenance": [{"start_unix_s": "0", "end_unix_s": 10}]},
        {"maintenance": [{"start_unix_s": 0, "end_unix_s": 10, "cells": [True]}]},
    ],
)
async def test_a_switch_is_a_truth_value_and_a_number_a_number(client, stage, body):
    assert_is_problem(await client.put("/v1/stops", json=body), 400)
    assert stage.gate.stops() == Stops(mode=Mode.AUTONOMOUS)

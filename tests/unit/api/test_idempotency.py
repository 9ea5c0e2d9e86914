"""Idempotency keys of requests that come together."""

from __future__ import annotations

import asyncio
import threading

from api.context import Context
from tests.unit.api.test_a1 import assert_is_problem

KEY = {"Idempotency-Key": "k1"}


async def test_a_retry_while_the_first_is_served_gets_its_answer(client, operations, monkeypatch):
    operations.turn()
    begun, released, num_run = threading.Semaphore(0), threading.Event(), []

    def rollback(to_version, **_):
        num_run.append(to_version)
        begun.release()
        released.wait(10)
        return operations.gate.submit(operations.gate.policy_in_force, now_s=0.0)

    monkeypatch.setattr(operations, "rollback", rollback)
    body = {"to_version": 0, "reason": "start over"}
    first = asyncio.create_task(client.post("/v1/rollback", json=body, headers=KEY))
    await asyncio.to_thread(begun.acquire)
    retries = [asyncio.create_task(client.post("/v1/rollback", json=body, headers=KEY)) for _ in range(3)]
    other = asyncio.create_task(client.post("/v1/rollback", json={**body, "to_version": 1}, headers=KEY))
    unlike = asyncio.create_task(client.post("/v1/rollback", json=body, headers={"Idempotency-Key": "k2"}))
    await asyncio.to_thread(begun.acquire)
    released.set()
    answers = await asyncio.gather(first, *retries)
    assert [answer.json() for answer in answers] == [(await first).json()] * 4
    assert_is_problem(await other, 409, "IDEMPOTENCY_KEY_REUSED")
    assert (await unlike).status_code == 200
    assert len(num_run) == 2


async def test_no_key_is_held_once_its_requests_are_answered(client, operations):
    context: Context = client._transport.app.state.context
    operations.turn()
    await asyncio.gather(*(client.post("/v1/plans", json={}, headers={"Idempotency-Key": f"k{n}"}) for n in range(5)))
    assert dict(context.keys_in_use) == {}

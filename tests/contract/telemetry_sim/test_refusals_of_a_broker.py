"""What a broker refuses is told, for whom it refused it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from api.broker_feed import BrokerFeed
from api.errors import NetworkSilent
from edge_preprocess.broker_edge import BrokerEdge
from telemetry_sim.mqtt_client import BrokerRefused
from telemetry_sim.mqtt_protocol import (
    DIGESTS_FILTER,
    OFFLINE,
    ONLINE,
    OrderDocument,
    desired_topic,
    orders_topic,
    presence_topic,
    reported_topic,
)
from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget
from tests.api_stage import TOPOLOGY
from tests.refusing_broker import refusing_broker


@pytest.fixture(autouse=True)
def _is_in_no_hurry(monkeypatch):
    for module in ("telemetry_sim.mqtt_target", "edge_preprocess.broker_edge"):
        monkeypatch.setattr(f"{module}._LONGEST_WAIT_S", 0.1)


@asynccontextmanager
async def running(work):
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(is_true):
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("code", "told"), [(0x87, r"Not authorized \(0x87\)"), (0x97, r"Quota exceeded \(0x97\)")])
async def test_a_refused_publication_is_an_error(code, told):
    async with refusing_broker() as broker, BrokerAddress(port=broker.port).client("test") as client:
        broker.codes["a/b"] = code
        await client.publish("a/c", b"1")
        with pytest.raises(BrokerRefused, match=rf"take 'a/b': {told}"):
            await client.publish("a/b", b"1")
        # Nobody listening is no failure.
        broker.codes["a/b"] = 0x10
        await client.publish("a/b", b"1")


async def test_one_refused_subscription_of_several_is_an_error():
    async with refusing_broker() as broker, BrokerAddress(port=broker.port).client("test") as client:
        broker.codes["a/+"] = 0x87
        with pytest.raises(BrokerRefused, match=r"send 'a/\+': Not authorized"):
            await client.subscribe("a/+", "b/+")
        await client.subscribe("b/+")


async def test_publications_under_way_at_once_each_have_their_own_answer():
    async with refusing_broker() as broker, BrokerAddress(port=broker.port).client("test") as client:
        broker.codes = {f"t/{n}": 0x87 for n in range(0, 50, 3)}
        answers = await asyncio.gather(*(client.publish(f"t/{n}", b"1") for n in range(50)), return_exceptions=True)
    assert [n for n, answer in enumerate(answers) if isinstance(answer, BrokerRefused)] == list(range(0, 50, 3))


async def test_a_target_that_may_not_hear_what_is_desired_is_not_online():
    async with refusing_broker() as broker:
        broker.codes[desired_topic(7)] = 0x87
        target = MqttTarget(7, lambda *_: "", BrokerAddress(port=broker.port))
        async with running(target.run()):
            await broker.takes(presence_topic(7), OFFLINE)
            await until(lambda: "0x87" in target.refusal)
            assert ONLINE not in broker.taken[presence_topic(7)]
            broker.codes.clear()
            await broker.takes(presence_topic(7), ONLINE)
            await until(lambda: target.refusal == "")


async def test_a_target_whose_report_is_refused_keeps_it_until_it_is_taken():
    async with refusing_broker() as broker:
        broker.codes[reported_topic(7)] = 0x97
        target = MqttTarget(7, lambda *_: "", BrokerAddress(port=broker.port))
        report = target.keeper._report("confirmed", answers=2)
        async with running(target.run()):
            await until(lambda: "0x97" in target.refusal)
            broker.codes.clear()
            await broker.takes(reported_topic(7), report.model_dump_json().encode())


async def test_an_order_that_the_broker_refuses_is_told_and_sent_again():
    async with refusing_broker() as broker:
        broker.codes[orders_topic(1)] = 0x87
        edge = BrokerEdge(cell=1, topology=TOPOLOGY, broker=BrokerAddress(port=broker.port))
        order = OrderDocument(version=3, actions=())
        edge._orders.put_nowait(order)
        async with running(edge.run()):
            await until(lambda: "0x87" in edge.refusal)
            broker.codes.clear()
            await broker.takes(orders_topic(1), order.model_dump_json().encode())
            await until(lambda: edge.refusal == "")


async def test_a_server_that_is_sent_no_digests_says_why():
    async with refusing_broker() as broker:
        broker.codes[DIGESTS_FILTER] = 0x87
        feed = BrokerFeed(BrokerAddress(port=broker.port), TOPOLOGY, interval_s=10.0)
        try:
            await until(lambda: feed._refusal)
            with pytest.raises(NetworkSilent, match=r"digest.*0x87"):
                feed.digest((), ())
            broker.codes.clear()
            await until(lambda: not feed._refusal)
            assert feed.digest((), ()) == ()
        finally:
            await asyncio.to_thread(feed.close)

"""A cell's edge node on a broker that is a list of messages."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiomqtt
import numpy as np
import pytest

from edge_preprocess.broker_edge import BrokerEdge
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import SliceAction
from telemetry_sim.desired_state import initial_actions
from telemetry_sim.mqtt_protocol import (
    DesiredDocument,
    OrderDocument,
    ReportDocument,
    ReportState,
    desired_topic,
    digest_topic,
    orders_topic,
    reported_topic,
    telemetry_topic,
)
from telemetry_sim.mqtt_telemetry import encode_telemetry
from telemetry_sim.records import Telemetry

CELL = 7


class _Client:
    """One connection: gives its messages, then fails or waits for ever."""

    def __init__(self, broker, messages, *, fails):
        self._broker = broker
        self._messages = messages
        self._fails = fails

    async def subscribe(self, *topics):
        pass

    @property
    async def messages(self):
        for topic, payload in self._messages:
            yield SimpleNamespace(topic=topic, payload=payload, properties=None)
        if self._fails:
            # Once an order is under way.
            await self._broker.is_sending.wait()
            raise aiomqtt.MqttError("the wire was cut")
        await asyncio.Event().wait()

    async def publish(self, topic, payload, **_):
        if self._fails:
            self._broker.is_sending.set()
            await asyncio.Event().wait()
        self._broker.heard.append((topic, payload))
        self._broker.is_new.set()


class _Broker:
    """Gives each session its messages on its first connection, which may be lost."""

    def __init__(self, messages, *, loses_first=()):
        self.heard = []
        self.is_new = asyncio.Event()
        self.is_sending = asyncio.Event()
        self._messages = dict(messages)
        self._to_lose = set(loses_first)

    @asynccontextmanager
    async def client(self, identifier, *, will=None):
        fails = identifier in self._to_lose
        self._to_lose.discard(identifier)
        yield _Client(self, self._messages.pop(identifier, ()), fails=fails)

    async def hears(self, topic, count=1):
        """The payloads on a topic, once there are so many."""
        async with asyncio.timeout(20):
            while len(found := [payload for on, payload in self.heard if on == topic]) < count:
                self.is_new.clear()
                await self.is_new.wait()
        return found


async def _played(edge, wanted):
    running = asyncio.create_task(edge.run())
    try:
        return await wanted
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _desired(topology, confirm_within_s):
    action = SliceAction(cell=CELL, slice=topology.slices[0].id, min_pct=80)
    return DesiredDocument(
        cell=CELL,
        version=1,
        revision=1,
        is_confirmed=False,
        confirm_within_s=confirm_within_s,
        valid_until_s=60.0,
        actions=(action,),
    )


async def test_a_first_trial_that_nobody_confirms_is_ordered_back(topology):
    desired = _desired(topology, 0.01)
    broker = _Broker({f"edgewright-cell-{CELL}": [(desired_topic(CELL), desired.model_dump_json().encode())]})
    edge = BrokerEdge(cell=CELL, topology=topology, broker=broker)
    trial, back = map(OrderDocument.model_validate_json, await _played(edge, broker.hears(orders_topic(CELL), 2)))
    assert (trial.version, trial.actions) == (1, desired.actions)
    assert (back.version, back.actions) == (0, initial_actions(CELL, topology.slices))
    report = ReportDocument.model_validate_json((await broker.hears(reported_topic(CELL)))[-1])
    assert (report.state, report.version) == (ReportState.REVERTED, 0)


async def test_an_order_under_way_when_the_connection_is_lost_is_sent_on_the_next(topology):
    desired = _desired(topology, 60.0)
    broker = _Broker(
        {f"edgewright-cell-{CELL}": [(desired_topic(CELL), desired.model_dump_json().encode())]},
        loses_first=[f"edgewright-edge-{CELL}"],
    )
    edge = BrokerEdge(cell=CELL, topology=topology, broker=broker)
    (order,) = map(OrderDocument.model_validate_json, await _played(edge, broker.hears(orders_topic(CELL))))
    assert (order.version, order.actions) == (1, desired.actions)


@pytest.mark.parametrize("is_readable", [True, False])
async def test_telemetry_of_another_shape_is_quarantined_and_the_next_is_digested(
    topology, make_frame, make_slice_columns, is_readable
):
    def message(time_s):
        frame = make_frame(time_s, (1,), (0,), (0,), served_bits=1e5, slices=make_slice_columns(offered_bits=1e5))
        return encode_telemetry(Telemetry(frames=(frame,)), 0)

    arrays = dict(np.load(io.BytesIO(message(1.0))))
    name = "0.slices.offered_bits" if is_readable else "0.devices.served_bits"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays | {name: np.zeros((2, 3))})
    payloads = [buffer.getvalue(), b"junk", message(11.0)]
    topic = telemetry_topic(CELL)
    broker = _Broker({f"edgewright-edge-{CELL}": [(topic, payload) for payload in payloads]})
    edge = BrokerEdge(cell=CELL, topology=topology, broker=broker)
    found = await _played(edge, broker.hears(digest_topic(CELL), 1 + is_readable))
    digests = [EdgeDigest.model_validate_json(payload) for payload in found]
    assert [digest.quality.rows_quarantined for digest in digests] == [1, 0][1 - is_readable :]
    assert edge.num_quarantined == 2 - is_readable
    assert digests[-1].end_s == 11.0


async def test_physics_that_start_again_at_0_are_followed(topology, make_frame, make_slice_columns):
    def message(start_s):
        counters = make_slice_columns(offered_bits=1e5)
        frames = [make_frame(start_s + t, (1,), (0,), (0,), served_bits=1e5, slices=counters) for t in range(1, 11)]
        return encode_telemetry(Telemetry(frames=tuple(frames)), 0)

    topic = telemetry_topic(CELL)
    broker = _Broker({f"edgewright-edge-{CELL}": [(topic, message(start_s)) for start_s in (3600.0, 0.0, 10.0)]})
    edge = BrokerEdge(cell=CELL, topology=topology, broker=broker)
    digests = map(EdgeDigest.model_validate_json, await _played(edge, broker.hears(digest_topic(CELL), 3)))
    assert [(d.end_s, d.quality.rows_accepted) for d in digests] == [(3610.0, 10), (10.0, 8), (20.0, 10)]

"""Devices with sessions of their own: what they measure becomes telemetry, and they obey their cell."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

import numpy as np
import pytest

from telemetry_sim.actions import SliceAction
from telemetry_sim.mqtt_device import DeviceSession
from telemetry_sim.mqtt_protocol import (
    DEVICE_PRESENCE_FILTER,
    OBEYED_FILTER,
    OrderDocument,
    ReadingsDocument,
    obeyed_topic,
    orders_topic,
    readings_topic,
    sensed_topic,
)
from telemetry_sim.mqtt_readings import READING_COLUMNS, readings_by_device, with_readings, without_devices
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.network import Network
from telemetry_sim.records import DeviceColumns, Telemetry
from telemetry_sim.scenarios import scenario
from tests.service_fixtures import broker

__all__ = ["broker"]


@pytest.fixture(scope="module")
def ran():
    network = Network(scenario("smart-city", 30), seed=3)
    found = network.run(3.0)
    return network.topology, Telemetry(frames=found.frames, logs=found.logs)


def rows_of(telemetry: Telemetry, cell_index: int) -> list[tuple[float, ...]]:
    rows = []
    for frame in telemetry.frames:
        here = frame.devices.cell == cell_index
        columns = [getattr(frame.devices, name)[here] for name in DeviceColumns.__slots__]
        rows += [(frame.time_s, *map(float, row)) for row in zip(*columns, strict=True)]
    return rows


def test_what_devices_report_one_by_one_makes_the_same_frames(ran):
    topology, telemetry = ran
    documents = list(readings_by_device(telemetry, topology))[::-1]
    for index, cell in enumerate(topology.cells):
        own = [document for document in documents if document.cell == cell.id]
        back, num_late = with_readings(without_devices(telemetry), own, index)
        assert num_late == 0
        np.testing.assert_array_equal(rows_of(back, index), rows_of(telemetry, index))
    assert len(documents) == 30


def test_rows_that_come_too_late_are_counted_and_left_out(ran):
    topology, telemetry = ran
    late = [document for document in readings_by_device(telemetry, topology) if document.cell == topology.cells[0].id]
    newer = Telemetry(frames=telemetry.frames[2:])
    back, num_late = with_readings(without_devices(newer), late, 0)
    assert num_late == sum(len(document.rows) for document in late) - len(rows_of(back, 0))
    assert num_late > 0


def test_rows_of_a_wrong_length_are_left_out(ran):
    topology, telemetry = ran
    forged = ReadingsDocument(device=1, cell=topology.cells[0].id, slice=0, rows=((telemetry.frames[0].time_s, 1.0),))
    back, num_late = with_readings(without_devices(telemetry), [forged], 0)
    assert (rows_of(back, 0), num_late) == ([], 1)


def test_a_network_that_reports_for_its_devices_is_not_overruled_by_one(ran):
    topology, telemetry = ran
    row = (telemetry.frames[0].time_s, *([1e12] * len(READING_COLUMNS)))
    forged = ReadingsDocument(device=1, cell=topology.cells[0].id, slice=0, rows=(row,))
    back, num_late = with_readings(telemetry, [forged], 0)
    assert num_late == 1
    np.testing.assert_array_equal(rows_of(back, 0), rows_of(telemetry, 0))


def test_a_device_goes_on_reporting_where_the_physics_start_again(ran):
    topology, _ = ran

    class Listener:
        num_rows: ClassVar[list[int]] = []

        async def subscribe(self, topic: str) -> None:
            del topic

        async def publish(self, topic: str, payload: str) -> None:
            del topic
            self.num_rows.append(len(ReadingsDocument.model_validate_json(payload).rows))

    def sensed(first_s: int) -> ReadingsDocument:
        rows = tuple((float(first_s + n), *([1.0] * len(READING_COLUMNS))) for n in range(10))
        return ReadingsDocument(device=5, cell=topology.cells[0].id, slice=0, rows=rows)

    async def play() -> None:
        session = DeviceSession(5, topology, BrokerAddress(port=1))
        # The second comes twice; the third is a new start.
        for first_s in (3601, 3611, 3611, 1, 11):
            await session._report(Listener(), sensed(first_s))

    asyncio.run(play())
    assert Listener.num_rows == [10, 10, 0, 10, 10]


@pytest.mark.broker
def test_a_device_reports_as_often_as_its_cell_orders(broker, ran):
    topology, _ = ran
    cell, slice_id = topology.cells[0].id, topology.slices[0].id
    address = BrokerAddress(port=broker.port)
    sensed = ReadingsDocument(
        device=5, cell=cell, slice=0, rows=tuple((float(t), *([1.0] * len(READING_COLUMNS))) for t in range(1, 11))
    )
    order = OrderDocument(
        version=4, actions=(SliceAction(cell=cell, slice=slice_id, min_pct=10, report_interval_s=5.0),)
    )

    async def play() -> tuple[list[int], dict[str, object]]:
        session = DeviceSession(5, topology, address)
        running = asyncio.create_task(session.run())
        async with address.client("test") as client, asyncio.timeout(20):
            await client.subscribe(readings_topic(cell), OBEYED_FILTER, DEVICE_PRESENCE_FILTER)
            lengths, obeyed = [], {}
            async for message in client.messages:
                topic = str(message.topic)
                if topic.endswith("presence"):
                    await client.publish(sensed_topic(5), sensed.model_dump_json())
                elif topic == readings_topic(cell):
                    lengths.append(len(ReadingsDocument.model_validate_json(message.payload).rows))
                    if len(lengths) == 2:
                        break
                    for payload in (b"rubbish", order.model_dump_json()):
                        await client.publish(orders_topic(cell), payload)
                elif topic == obeyed_topic(5):
                    obeyed = json.loads(message.payload)
                    later = sensed.model_copy(update={"rows": tuple((row[0] + 10, *row[1:]) for row in sensed.rows)})
                    await client.publish(sensed_topic(5), later.model_dump_json())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert session.num_quarantined == 1
        return lengths, obeyed

    lengths, obeyed = asyncio.run(play())
    assert lengths == [10, 2]
    assert (obeyed["version"], obeyed["report_interval_s"]) == (4, 5.0)

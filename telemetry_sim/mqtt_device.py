"""Simulated devices on a broker: a session each, which reports what the physics let it measure and obeys its cell."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import aiomqtt
from pydantic import ValidationError

from telemetry_sim.actions import SliceAction
from telemetry_sim.mqtt_client import BrokerClient, BrokerRefused
from telemetry_sim.mqtt_protocol import (
    OFFLINE,
    ONLINE,
    ObeyedDocument,
    OrderDocument,
    ReadingsDocument,
    device_presence_topic,
    obeyed_topic,
    orders_topic,
    readings_topic,
    sensed_topic,
)
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.topology import SliceId, Topology

LOG = logging.getLogger("edgewright.device")
_LONGEST_WAIT_S = 5.0


class DeviceSession:
    """One device; reconnects with back-off and tells its presence by retained message and last will."""

    def __init__(self, device: int, topology: Topology, broker: BrokerAddress) -> None:
        self.device = device
        self.num_reported = 0
        """Rows."""
        self.num_quarantined = 0
        """Messages that could not be read."""
        self.num_refused = 0
        """Messages, and orders to listen for, that the broker did not take."""
        self.obeyed: ObeyedDocument | None = None
        self._slices = tuple(profile.id for profile in topology.slices)
        self._broker = broker
        self._cell: int | None = None
        self._slice: SliceId | None = None
        self._last_report_s = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        wait_s = 0.1
        topic = device_presence_topic(self.device)
        while True:
            try:
                will = aiomqtt.Will(topic, OFFLINE, qos=1, retain=True)
                async with self._broker.client(f"edgewright-device-{self.device}", will=will) as client:
                    wait_s = 0.1
                    self._cell = None
                    await client.subscribe(sensed_topic(self.device))
                    await client.publish(topic, ONLINE, retain=True)
                    try:
                        async for message in client.messages:
                            await self._take(client, message)
                    except asyncio.CancelledError:
                        # An orderly disconnect sends no last will.
                        with contextlib.suppress(aiomqtt.MqttError):
                            await client.publish(topic, OFFLINE, retain=True)
                        raise
            except BrokerRefused as error:
                self._note_refusal(error)
                wait_s = _LONGEST_WAIT_S
            except aiomqtt.MqttError as error:
                LOG.debug("device %d lost the broker: %s", self.device, error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _take(self, client: BrokerClient, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        try:
            if str(message.topic) == sensed_topic(self.device):
                await self._report(client, ReadingsDocument.model_validate_json(payload))
            else:
                await self._obey(client, OrderDocument.model_validate_json(payload))
        except ValidationError as error:
            self.num_quarantined += 1
            LOG.warning("device %d: unreadable message: %d faults", self.device, error.error_count())
        except BrokerRefused as error:
            self._note_refusal(error)

    def _note_refusal(self, error: BrokerRefused) -> None:
        self.num_refused += 1
        LOG.warning("device %d: %s", self.device, error)

    async def _report(self, client: BrokerClient, sensed: ReadingsDocument) -> None:
        """Pass on to the edge node what was measured, as often as was ordered."""
        if sensed.device != self.device or sensed.slice >= len(self._slices):
            self.num_quarantined += 1
            return
        self._slice = self._slices[sensed.slice]
        if sensed.cell != self._cell:
            if self._cell is not None:
                await client.unsubscribe(orders_topic(self._cell))
            self._cell = sensed.cell
            await client.subscribe(orders_topic(sensed.cell))
        if sensed.rows and _time_s(sensed.rows[-1]) < self._last_report_s:
            # The physics began anew; what comes twice ends where the last report did, or later.
            self._last_report_s = float("-inf")
        rows = tuple(row for row in sensed.rows if self._is_due(row))
        self.num_reported += len(rows)
        document = sensed.model_copy(update={"rows": rows})
        await client.publish(readings_topic(sensed.cell), document.model_dump_json())

    def _is_due(self, row: tuple[float | None, ...]) -> bool:
        interval_s = 1.0 if self.obeyed is None else self.obeyed.report_interval_s
        time_s = _time_s(row)
        is_due = time_s >= self._last_report_s + interval_s - 1e-6
        if is_due:
            self._last_report_s = time_s
        return is_due

    async def _obey(self, client: BrokerClient, order: OrderDocument) -> None:
        """Put into force what the cell orders for the device's slice, and say so."""
        own = [action for action in order.actions if isinstance(action, SliceAction) and action.slice == self._slice]
        if not own:
            return
        action = own[-1]
        self.obeyed = ObeyedDocument(
            device=self.device,
            cell=action.cell,
            version=order.version,
            report_interval_s=action.report_interval_s,
            offload_device_pct=action.offload_device_pct,
            ue_rate_cap_mbps=action.ue_rate_cap_mbps,
        )
        await client.publish(obeyed_topic(self.device), self.obeyed.model_dump_json(), retain=True)


def _time_s(row: tuple[float | None, ...]) -> float:
    return row[0] if row and row[0] is not None else float("nan")

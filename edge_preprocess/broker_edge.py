"""An edge node on a broker: digests of its cell upward, the desired state of its cell downward."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import aiomqtt
from pydantic import ValidationError

from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.actions import ControlAction, SliceAction
from telemetry_sim.desired_state import initial_actions
from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.mqtt_client import BrokerClient, BrokerRefused
from telemetry_sim.mqtt_protocol import (
    OrderDocument,
    ReadingsDocument,
    digest_topic,
    orders_topic,
    readings_topic,
    telemetry_topic,
)
from telemetry_sim.mqtt_readings import with_readings
from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget
from telemetry_sim.mqtt_telemetry import decode_telemetry
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.edge")
_LONGEST_WAIT_S = 5.0
_MAX_READINGS = 20_000
"""Kept for one interval; a flood is counted and dropped."""


@dataclass(slots=True, kw_only=True)
class BrokerEdge:
    """One cell's edge node: its own session as a target, another for telemetry and orders."""

    cell: int
    topology: Topology
    broker: BrokerAddress
    interval_s: float = 10.0
    num_digests: int = 0
    num_quarantined: int = 0
    """Telemetry messages that could not be read, and readings of devices that were for another cell."""
    num_late: int = 0
    """Rows of devices that came after their interval was digested."""
    num_unsent: int = 0
    """Digests that the broker refused to take."""
    refusal: str = ""
    """Why the broker does not pass the newest order on to the devices, which is tried again; empty where it does."""
    _orders: asyncio.Queue[OrderDocument] = field(default_factory=asyncio.Queue)
    _readings: list[ReadingsDocument] = field(default_factory=list)
    """Of devices with sessions of their own, since the last digest."""

    async def run(self) -> None:
        """Until cancelled."""
        initial = initial_actions(self.cell, self.topology.slices)
        target = MqttTarget(self.cell, self._put_into_force, self.broker, initial=initial)
        async with asyncio.TaskGroup() as group:
            group.create_task(target.run())
            group.create_task(self._serve_devices())

    def _put_into_force(self, actions: tuple[ControlAction, ...], version: int) -> str:
        """Check against the cell's capacity and pass on to the devices; the reason for a refusal."""
        for share in ("dedicated_pct", "min_pct", "compute_pct"):
            total = sum(getattr(action, share) for action in actions if isinstance(action, SliceAction))
            if total > 100:
                return f"{share} sums to {total}, at most 100 is possible"
        if actions:
            self._orders.put_nowait(OrderDocument(version=version, actions=actions))
        return ""

    async def _serve_devices(self) -> None:
        pipeline = EdgePipeline(self.topology, interval_s=self.interval_s)
        wait_s = 0.1
        while True:
            try:
                async with self.broker.client(f"edgewright-edge-{self.cell}") as client:
                    wait_s = 0.1
                    await client.subscribe(telemetry_topic(self.cell), readings_topic(self.cell))
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self._pass_orders(client))
                        group.create_task(self._digest(client, pipeline))
            except* aiomqtt.MqttError as errors:
                LOG.warning("cell %d lost the broker or was refused: %s", self.cell, errors.exceptions[0])
                if errors.subgroup(BrokerRefused) is not None:
                    wait_s = _LONGEST_WAIT_S
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _pass_orders(self, client: BrokerClient) -> None:
        while True:
            order = await self._orders.get()
            try:
                await client.publish(orders_topic(self.cell), order.model_dump_json(), retain=True)
                self.refusal = ""
            except BrokerRefused as error:
                self.refusal = str(error)
                LOG.warning("cell %d: %s", self.cell, error)
                if self._orders.empty():
                    self._orders.put_nowait(order)
                # Digests go on meanwhile.
                await asyncio.sleep(_LONGEST_WAIT_S)
            except (aiomqtt.MqttError, asyncio.CancelledError):
                # The newest order is what counts; keep this one only where none came after it. A lost connection may
                # show first in the digests' task: this one is then cancelled.
                if self._orders.empty():
                    self._orders.put_nowait(order)
                raise

    async def _digest(self, client: BrokerClient, pipeline: EdgePipeline) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
            if str(message.topic) == readings_topic(self.cell):
                self._take_readings(bytes(payload))
                continue
            try:
                telemetry = decode_telemetry(bytes(payload))
            except TraceUnreadable as error:
                self.num_quarantined += 1
                LOG.warning("cell %d: %s", self.cell, error)
                continue
            if self._readings:
                readings, self._readings = self._readings, []
                telemetry, num_late = with_readings(telemetry, readings, self.topology.cell_index(self.cell))
                self.num_late += num_late
            digests = await asyncio.to_thread(pipeline.digest, telemetry.frames, telemetry.logs)
            own = next(digest for digest in digests if digest.cell == self.cell)
            try:
                await client.publish(digest_topic(self.cell), own.model_dump_json(), retain=True)
            except BrokerRefused as error:
                self.num_unsent += 1
                LOG.warning("cell %d: %s", self.cell, error)
            else:
                self.num_digests += 1

    def _take_readings(self, payload: bytes) -> None:
        """Keep a device's rows for the digest; what can't be read, belongs elsewhere or floods is counted."""
        try:
            readings = ReadingsDocument.model_validate_json(payload)
        except ValidationError:
            self.num_quarantined += 1
            return
        is_ours = readings.cell == self.cell and readings.slice < len(self.topology.slices)
        if not is_ours or len(self._readings) >= _MAX_READINGS:
            self.num_quarantined += 1
            return
        self._readings.append(readings)

"""A simulated network on a broker: it runs in wall-clock time, reports, and obeys what the edge nodes order."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiomqtt
from pydantic import ValidationError

from telemetry_sim.errors import ActionInvalid
from telemetry_sim.mqtt_client import BrokerClient, BrokerRefused
from telemetry_sim.mqtt_protocol import ORDERS_FILTER, OrderDocument, cell_of_topic, sensed_topic, telemetry_topic
from telemetry_sim.mqtt_readings import readings_by_device, without_devices
from telemetry_sim.mqtt_telemetry import encode_telemetry
from telemetry_sim.records import Telemetry

if TYPE_CHECKING:
    from telemetry_sim.mqtt_target import BrokerAddress
    from telemetry_sim.network import Network

LOG = logging.getLogger("edgewright.device")
_IN_FLIGHT = 15
_LONGEST_GRACE_S = 1.0


class Physics:
    """Steps the network in wall-clock time; orders that came in meanwhile take effect between intervals.

    With `are_devices_apart` each device's rows go to a session of its own, which reports them to the edge node; what
    the cells count follows after a moment of grace.
    """

    def __init__(
        self,
        network: Network,
        broker: BrokerAddress,
        *,
        interval_s: float,
        pace_s: float,
        are_devices_apart: bool = False,
    ) -> None:
        self.num_obeyed = 0
        self.num_refused = 0
        self.num_quarantined = 0
        self.num_unsent = 0
        """Messages that the broker refused to take."""
        self._network = network
        self._broker = broker
        self._interval_s = interval_s
        self._pace_s = pace_s
        self._are_devices_apart = are_devices_apart
        self._orders: dict[int, bytes] = {}
        """The latest order of each cell that has not been obeyed yet."""

    async def run(self, num_intervals: int | None = None) -> None:
        """Until cancelled, or for so many intervals; reconnects with back-off, and the physics wait meanwhile."""
        left, wait_s = num_intervals, 0.1
        while left is None or left > 0:
            try:
                async with self._broker.client("edgewright-physics") as client:
                    await client.subscribe(ORDERS_FILTER)
                    wait_s = 0.1
                    listening = asyncio.create_task(self._listen(client))
                    try:
                        while left is None or left > 0:
                            await self._step(client)
                            left = None if left is None else left - 1
                    finally:
                        listening.cancel()
                        await asyncio.gather(listening, return_exceptions=True)
            except aiomqtt.MqttError as error:
                LOG.warning("the broker was lost or refused us: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 5.0)

    async def _listen(self, client: BrokerClient) -> None:
        async for message in client.messages:
            cell = cell_of_topic(str(message.topic))
            if cell is None or not isinstance(message.payload, bytes | bytearray):
                self.num_quarantined += 1
                continue
            self._orders[cell] = bytes(message.payload)

    async def _step(self, client: BrokerClient) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._obey()
        ran = await asyncio.to_thread(self._network.run, self._interval_s)
        telemetry = Telemetry(frames=ran.frames, logs=ran.logs, alarms=ran.alarms)
        if self._are_devices_apart:
            await self._let_devices_measure(client, telemetry)
            await asyncio.sleep(min(_LONGEST_GRACE_S, self._pace_s / 3))
            telemetry = without_devices(telemetry)
        for index, cell in enumerate(self._network.topology.cells):
            payload = await asyncio.to_thread(encode_telemetry, telemetry, index)
            await self._send(client, telemetry_topic(cell.id), payload)
        await asyncio.sleep(max(0.0, self._pace_s - (loop.time() - began_s)))

    async def _let_devices_measure(self, client: BrokerClient, telemetry: Telemetry) -> None:
        documents = list(readings_by_device(telemetry, self._network.topology))
        for start in range(0, len(documents), _IN_FLIGHT):
            part = documents[start : start + _IN_FLIGHT]
            await asyncio.gather(*(self._send(client, sensed_topic(d.device), d.model_dump_json()) for d in part))

    async def _send(self, client: BrokerClient, topic: str, payload: str | bytes) -> None:
        """One cell or device that the broker keeps out must not keep the others from being heard."""
        try:
            await client.publish(topic, payload)
        except BrokerRefused as error:
            self.num_unsent += 1
            LOG.warning("%s", error)

    def _obey(self) -> None:
        orders, self._orders = self._orders, {}
        for payload in orders.values():
            try:
                order = OrderDocument.model_validate_json(payload)
                answers = self._network.apply(order.actions, policy_version=order.version)
            except ValidationError:
                self.num_quarantined += 1
            except ActionInvalid as error:
                self.num_refused += 1
                LOG.warning("an order was refused: %s", error)
            else:
                self.num_obeyed += sum(answer.applied for answer in answers)

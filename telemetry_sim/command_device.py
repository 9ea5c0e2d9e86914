"""`edgewright device`: the devices' side of a broker; one process owns the physics of a simulated network."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING

import click

from telemetry_sim.finite_range import FiniteRange

if TYPE_CHECKING:
    from telemetry_sim.mqtt_target import BrokerAddress
    from telemetry_sim.network import Network

LOG = logging.getLogger("edgewright.device")


@click.command()
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT")
@click.option("--scenario", "scenario_name", default="smart-city", show_default=True)
@click.option("--devices", type=click.IntRange(min=1), help="Number of devices; the scenario's own by default.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--interval", "interval_s", type=FiniteRange(min=1.0), default=10.0, show_default=True)
@click.option("--pace", "pace_s", type=FiniteRange(min=0.0), help="Seconds of wall-clock time for an interval.")
@click.option("--intervals", type=click.IntRange(min=1), help="Stop after so many; for ever by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
def device(
    broker: str,
    scenario_name: str,
    devices: int | None,
    seed: int,
    interval_s: float,
    pace_s: float | None,
    intervals: int | None,
    as_json: bool,
) -> None:
    """Run the network's physics, report over MQTT and obey what the edge nodes order."""
    from telemetry_sim.mqtt_target import parse_broker
    from telemetry_sim.network import Network
    from telemetry_sim.scenarios import scenario

    address = parse_broker(broker)
    network = Network(scenario(scenario_name, devices), seed=seed)
    physics = Physics(network, address, interval_s=interval_s, pace_s=interval_s if pace_s is None else pace_s)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(physics.run(intervals))
    document = {
        "time_s": network.time_s,
        "orders_obeyed": physics.num_obeyed,
        "orders_refused": physics.num_refused,
        "quarantined": physics.num_quarantined,
    }
    click.echo(json.dumps(document) if as_json else f"Ran {network.time_s:g} s, obeyed {physics.num_obeyed} orders")


class Physics:
    """Steps the network in wall-clock time; orders that came in meanwhile take effect between intervals."""

    def __init__(self, network: Network, broker: BrokerAddress, *, interval_s: float, pace_s: float) -> None:
        self.num_obeyed = 0
        self.num_refused = 0
        self.num_quarantined = 0
        self._network = network
        self._broker = broker
        self._interval_s = interval_s
        self._pace_s = pace_s
        self._orders: dict[int, bytes] = {}
        """The latest order of each cell that has not been obeyed yet."""

    async def run(self, num_intervals: int | None = None) -> None:
        """Until cancelled, or for so many intervals; reconnects with back-off, and the physics wait meanwhile."""
        import aiomqtt

        left, wait_s = num_intervals, 0.1
        while left is None or left > 0:
            try:
                async with self._broker.client("edgewright-physics") as client:
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
                LOG.warning("the broker was lost: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, 5.0)

    async def _listen(self, client: object) -> None:
        import aiomqtt

        from telemetry_sim.mqtt_protocol import ORDERS_FILTER, cell_of_topic

        assert isinstance(client, aiomqtt.Client)  # noqa: S101 (the library is imported late)
        await client.subscribe(ORDERS_FILTER, qos=1)
        async for message in client.messages:
            cell = cell_of_topic(str(message.topic))
            if cell is None or not isinstance(message.payload, bytes | bytearray):
                self.num_quarantined += 1
                continue
            self._orders[cell] = bytes(message.payload)

    async def _step(self, client: object) -> None:
        import aiomqtt

        from telemetry_sim.mqtt_protocol import telemetry_topic
        from telemetry_sim.mqtt_telemetry import encode_telemetry
        from telemetry_sim.records import Telemetry

        assert isinstance(client, aiomqtt.Client)  # noqa: S101 (the library is imported late)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self._obey()
        ran = await asyncio.to_thread(self._network.run, self._interval_s)
        telemetry = Telemetry(frames=ran.frames, logs=ran.logs, alarms=ran.alarms)
        for index, cell in enumerate(self._network.topology.cells):
            payload = await asyncio.to_thread(encode_telemetry, telemetry, index)
            await client.publish(telemetry_topic(cell.id), payload, qos=1)
        await asyncio.sleep(max(0.0, self._pace_s - (loop.time() - began_s)))

    def _obey(self) -> None:
        from pydantic import ValidationError

        from telemetry_sim.errors import ActionInvalid
        from telemetry_sim.mqtt_protocol import OrderDocument

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

"""`edgewright device`: the devices' side of a broker; one process owns the physics of a simulated network."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import click

from telemetry_sim.finite_range import FiniteRange

if TYPE_CHECKING:
    from telemetry_sim.mqtt_target import BrokerAddress


@click.command()
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT")
@click.option("--scenario", "scenario_name", default="smart-city", show_default=True)
@click.option("--devices", type=click.IntRange(min=1), help="Number of devices; the scenario's own by default.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--interval", "interval_s", type=FiniteRange(min=1.0), default=10.0, show_default=True)
@click.option("--pace", "pace_s", type=FiniteRange(min=0.0), help="Seconds of wall-clock time for an interval.")
@click.option("--intervals", type=click.IntRange(min=1), help="Stop after so many; for ever by default.")
@click.option("--apart", is_flag=True, help="Leave the devices' reports to sessions of their own (--ids).")
@click.option("--ids", metavar="FIRST-LAST", help="Be these devices, a session each; another process owns the physics.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
def device(
    broker: str,
    scenario_name: str,
    devices: int | None,
    seed: int,
    interval_s: float,
    pace_s: float | None,
    intervals: int | None,
    apart: bool,
    ids: str | None,
    as_json: bool,
) -> None:
    """Run the network's physics, report over MQTT and obey what the edge nodes order."""
    from telemetry_sim.mqtt_target import parse_broker

    address = parse_broker(broker)
    if ids is not None:
        _be_devices(_parse_ids(ids), scenario_name, address, as_json)
        return
    from telemetry_sim.mqtt_physics import Physics
    from telemetry_sim.network import Network
    from telemetry_sim.scenarios import scenario

    network = Network(scenario(scenario_name, devices), seed=seed)
    pace_s = interval_s if pace_s is None else pace_s
    physics = Physics(network, address, interval_s=interval_s, pace_s=pace_s, are_devices_apart=apart)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(physics.run(intervals))
    document = {
        "time_s": network.time_s,
        "orders_obeyed": physics.num_obeyed,
        "orders_refused": physics.num_refused,
        "quarantined": physics.num_quarantined,
    }
    click.echo(json.dumps(document) if as_json else f"Ran {network.time_s:g} s, obeyed {physics.num_obeyed} orders")


def _be_devices(numbers: range, scenario_name: str, address: BrokerAddress, as_json: bool) -> None:
    from telemetry_sim.mqtt_device import DeviceSession
    from telemetry_sim.scenarios import scenario

    topology = scenario(scenario_name).topology
    sessions = [DeviceSession(number, topology, address) for number in numbers]

    async def run_all() -> None:
        await asyncio.gather(*(session.run() for session in sessions))

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run_all())
    document = {
        "devices": len(sessions),
        "rows_reported": sum(session.num_reported for session in sessions),
        "quarantined": sum(session.num_quarantined for session in sessions),
    }
    click.echo(
        json.dumps(document) if as_json else f"{len(sessions)} devices reported {document['rows_reported']} rows"
    )


def _parse_ids(text: str) -> range:
    first, dash, last = text.partition("-")
    if not (dash and first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise click.BadParameter(f"{text!r}: expected FIRST-LAST such as 0-99", param_hint="--ids")
    numbers = range(int(first[:10]), int(last[:10]) + 1)
    if not 0 < len(numbers) <= 10_000:
        raise click.BadParameter(f"{text!r}: 1 to 10000 devices are allowed, first before last", param_hint="--ids")
    return numbers

"""`edgewright edge-node`: edge nodes of some cells as a process on a broker."""

from __future__ import annotations

import asyncio
import contextlib
import json

import click

from telemetry_sim.finite_range import FiniteRange


@click.command(name="edge-node")
@click.option("--broker", default="127.0.0.1:1883", show_default=True, metavar="HOST:PORT")
@click.option("--scenario", "scenario_name", default="smart-city", show_default=True, help="Gives the topology.")
@click.option("--cells", required=True, metavar="ID,ID", help="The cells that this process stands beside.")
@click.option("--interval", "interval_s", type=FiniteRange(min=1.0), default=10.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document at the end.")
def edge_node(broker: str, scenario_name: str, cells: str, interval_s: float, as_json: bool) -> None:
    """Digest the telemetry of some cells and obey their desired state, over MQTT, until interrupted."""
    from edge_preprocess.broker_edge import BrokerEdge
    from telemetry_sim.mqtt_target import parse_broker
    from telemetry_sim.scenarios import scenario

    topology = scenario(scenario_name).topology
    known = {cell.id for cell in topology.cells}
    try:
        wanted = [int(part) for part in cells.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{cells!r}: expected cell ids such as 0,1", param_hint="--cells") from error
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise click.BadParameter(f"cells {unknown} are unknown; cells are {sorted(known)}", param_hint="--cells")
    address = parse_broker(broker)
    nodes = [BrokerEdge(cell=cell, topology=topology, broker=address, interval_s=interval_s) for cell in wanted]

    async def run_all() -> None:
        await asyncio.gather(*(node.run() for node in nodes))

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run_all())
    document = {str(node.cell): {"digests": node.num_digests, "quarantined": node.num_quarantined} for node in nodes}
    click.echo(json.dumps(document) if as_json else f"Served cells {cells}")

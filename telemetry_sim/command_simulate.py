"""`edgewright simulate`: run a scenario and say what it did and how fast."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from telemetry_sim.run_length import duration_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from telemetry_sim.network import Network
    from telemetry_sim.records import Telemetry
    from telemetry_sim.scenarios import Scenario


_MOST_WAITING = 4
"""Periods that may wait to be recorded: now and then a recorder packs what many have brought."""


@click.command()
@click.option("--list", "is_list", is_flag=True, help="Show the scenarios and end.")
@click.option("--scenario", "name", default="smart-city", show_default=True, help="Which scenario to run.")
@click.option("--devices", type=click.IntRange(1, 10_000_000), help="Number of devices; the scenario's own by default.")
@duration_option
@click.option(
    "--positions",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Put a cell at each row of this CSV file with Latitude and Longitude columns.",
)
@click.option(
    "--backhaul",
    type=click.Choice(["satellite", "uav"]),
    help="Let satellites or relaying drones carry every cell's backhaul; the scenario's own by default.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads; the machine's processors by default.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Record to this .parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def simulate(
    name: str,
    devices: int | None,
    duration_s: float,
    positions: Path | None,
    backhaul: str | None,
    seed: int,
    threads: int | None,
    out: Path | None,
    *,
    is_list: bool,
    as_json: bool,
) -> None:
    """Run a scenario under the uniform policy, as fast as possible."""
    if is_list:
        _list(as_json=as_json)
        return
    from telemetry_sim.errors import TraceUnreadable
    from telemetry_sim.network import Network
    from telemetry_sim.scenarios import SatelliteBackhaul, UavRelays, at_positions, scenario

    if out is not None and out.suffix != ".parquet":
        raise TraceUnreadable(f"--out {str(out)!r}: the name must end in .parquet")
    chosen = scenario(name, devices)
    if positions is not None:
        chosen = at_positions(chosen, positions, num_devices=devices)
    if backhaul is not None:
        carried = SatelliteBackhaul() if backhaul == "satellite" else UavRelays()
        chosen = dataclasses.replace(chosen, backhaul_gaps=carried)
    network = Network(chosen, seed=seed, num_threads=threads or os.cpu_count() or 1)
    report = _report(network, chosen, seed, round(duration_s / chosen.period_s), out)
    click.echo(json.dumps(report) if as_json else _in_words(report))


def _list(*, as_json: bool) -> None:
    from telemetry_sim.scenarios import list_scenarios

    summaries = list_scenarios()
    if as_json:
        click.echo(json.dumps({"scenarios": [asdict(summary) for summary in summaries]}))
        return
    lines = []
    for summary in summaries:
        slices, faults = ", ".join(summary.slices), ", ".join(summary.faults)
        lines.append(f"{summary.name}: {summary.summary}")
        size = f"{summary.num_devices} devices, {_counted(summary.num_cells, 'cell')}"
        lines.append(f"  {size}; slices {slices}")
        lines.append(f"  faults {faults}")
    # At once, so that a reader who wants only the first line breaks no pipe.
    click.echo("\n".join(lines))


@dataclass(slots=True)
class _Tally:
    """What a run brought and took."""

    num_rows: int = 0
    num_logs: int = 0
    num_alarms: int = 0
    energy_j: float = 0.0
    warm_up_s: float = 0.0
    """The first period, which compiles or loads the kernels."""
    wall_s: float = 0.0
    """All periods but the first, and the end of the recording."""
    cpu_s: float = 0.0
    """Likewise, of all threads together."""

    def add(self, telemetry: Telemetry) -> None:
        """Count a period's output."""
        self.num_logs += len(telemetry.logs)
        self.num_alarms += len(telemetry.alarms)
        for frame in telemetry.frames:
            self.num_rows += len(frame.devices.device_id)
            if frame.cells is not None:
                self.energy_j += float(frame.cells.energy_j.sum())


def _advance(network: Network, num_periods: int, period_s: float, record: Callable[[Telemetry], None]) -> _Tally:
    """Run the periods, each recorded beside the next ones' running."""
    from rich.console import Console
    from rich.progress import track

    tally = _Tally()
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(1) as beside:
        waiting: deque[Future[None]] = deque()
        for index in track(range(num_periods), "Simulating", console=Console(stderr=True), transient=True):
            telemetry = network.run(period_s)
            if len(waiting) == _MOST_WAITING:
                waiting.popleft().result()
            waiting.append(beside.submit(record, telemetry))
            tally.add(telemetry)
            if index == 0:
                waiting.popleft().result()
                tally.warm_up_s = time.perf_counter() - begin_s
                begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        while waiting:
            waiting.popleft().result()
    tally.wall_s, tally.cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    return tally


def _report(network: Network, chosen: Scenario, seed: int, num_periods: int, out: Path | None) -> dict[str, object]:
    from telemetry_sim.traces import ParquetRecorder

    notes: dict[str, int | str] = {"scenario": chosen.name, "seed": seed, "num_devices": chosen.num_devices}
    recorder = None if out is None else ParquetRecorder(out, network.topology, notes=notes)

    def record(telemetry: Telemetry) -> None:
        if recorder is not None:
            for frame in telemetry.frames:
                recorder.write(frame, telemetry.logs, telemetry.alarms)

    tally = _advance(network, num_periods, chosen.period_s, record)
    recording: dict[str, object] = {}
    if recorder is not None:
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        size = recorder.close()
        tally.wall_s += time.perf_counter() - begin_s
        tally.cpu_s += time.process_time() - begin_cpu_s
        recording = {"out": str(out), "bytes": size.num_bytes, "bytes_per_row": round(size.bytes_per_row, 3)}
    totals = network.totals()
    timed_s = (num_periods - 1) * chosen.period_s
    return {
        "scenario": chosen.name,
        "seed": seed,
        "devices": chosen.num_devices,
        "cells": len(chosen.topology.cells),
        "duration_s": num_periods * chosen.period_s,
        "rows": tally.num_rows,
        "log_lines": tally.num_logs,
        "alarms": tally.num_alarms,
        "packets": {
            "offered": totals.offered_packets,
            "served": totals.served_packets,
            "dropped": totals.dropped_packets,
            "waiting": totals.waiting_packets,
        },
        "energy_kj": round(tally.energy_j / 1000.0, 3),
        "bytes_per_device": round(network.num_bytes / chosen.num_devices, 1),
        **recording,
        "timings": {
            "warm_up_s": round(tally.warm_up_s, 3),
            "wall_s": round(tally.wall_s, 3),
            "cpu_s": round(tally.cpu_s, 3),
            "times_real_time": round(timed_s / tally.wall_s, 2) if timed_s > 0 else None,
            "times_real_time_per_cpu": round(timed_s / tally.cpu_s, 2) if timed_s > 0 else None,
        },
    }


def _in_words(report: dict[str, Any]) -> str:
    timings, packets = report["timings"], report["packets"]
    size = ", ".join(_counted(report[name], name[:-1]) for name in ("devices", "cells"))
    output = (report["rows"], "row"), (report["log_lines"], "log line"), (report["alarms"], "alarm")
    speed = "" if timings["times_real_time"] is None else f", {timings['times_real_time']:g} times real time"
    lines = [
        f"{report['scenario']}: {size}, {report['duration_s']:g} s",
        f"packets: {', '.join(f'{count} {fate}' for fate, count in packets.items())}",
        ", ".join(_counted(count, one) for count, one in output),
        f"{report['bytes_per_device']} bytes a device in memory",
        f"{timings['warm_up_s']:g} s for the first period, {timings['wall_s']:g} s for the others{speed}",
    ]
    if "out" in report:
        lines.append(f"{report['out']}: {report['bytes']} bytes, {report['bytes_per_row']} bytes a row")
    return "\n".join(lines)


def _counted(count: int, one: str) -> str:
    return f"{count} {one}{'' if count == 1 else 's'}"

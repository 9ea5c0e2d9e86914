"""`edgewright record`: run a scenario and keep its telemetry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry_sim.finite_range import FiniteRange
from telemetry_sim.run_length import duration_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry_sim.network import Network
    from telemetry_sim.records import Telemetry


@click.command()
@click.option("--scenario", "name", default="smart-city", show_default=True, help="Which scenario to run.")
@click.option("--devices", type=click.IntRange(1, 10_000_000), help="Number of devices; the scenario's own by default.")
@duration_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="A .parquet file.")
@click.option("--exact", "is_exact", is_flag=True, help="Keep every bit; the default rounds to the declared precision.")
@click.option("--resume", is_flag=True, help="Go on after the last frame of a broken or shorter recording.")
@click.option("--pace", type=FiniteRange(min=0), default=0.0, help="Times real time; 0 is as fast as possible.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def record(
    name: str,
    devices: int | None,
    duration_s: float,
    seed: int,
    out: Path,
    *,
    is_exact: bool,
    resume: bool,
    pace: float,
    as_json: bool,
) -> None:
    """Run a scenario without changing its policy and record frames, log lines and alarms to a Parquet file.

    A scenario and seed always give the same run, so --resume runs it again and writes only what is missing.
    """
    import time

    from rich.console import Console
    from rich.progress import track

    from telemetry_sim.errors import TraceUnreadable
    from telemetry_sim.network import Network
    from telemetry_sim.scenarios import scenario
    from telemetry_sim.traces import ParquetRecorder

    if out.suffix != ".parquet":
        raise TraceUnreadable(f"--out {str(out)!r}: the name must end in .parquet")
    chosen = scenario(name, devices)
    network = Network(chosen, seed=seed)
    num_periods = round(duration_s / chosen.period_s)
    begin_s = time.perf_counter()
    notes: dict[str, int | str] = {"scenario": name, "seed": seed, "num_devices": chosen.num_devices}
    with ParquetRecorder(out, network.topology, is_exact=is_exact, resume=resume, notes=notes) as recorder:
        periods = track(
            _periods(network, num_periods, chosen.period_s, pace),
            "Recording",
            total=num_periods,
            console=Console(stderr=True),
            transient=True,
        )
        for telemetry in periods:
            for frame in telemetry.frames:
                recorder.write(frame, telemetry.logs, telemetry.alarms)
        size = recorder.close()
    wall_s = time.perf_counter() - begin_s
    report = {
        "scenario": name,
        "seed": seed,
        "devices": chosen.num_devices,
        "cells": len(chosen.topology.cells),
        "out": str(out),
        "frames": size.num_frames,
        "rows": size.num_rows,
        "bytes": size.num_bytes,
        "bytes_per_row": round(size.bytes_per_row, 3),
        "precision": "exact" if is_exact else "compact",
        "timings": {
            "wall_s": round(wall_s, 3),
            "times_real_time": round(num_periods * chosen.period_s / max(wall_s, 1e-9), 2),
        },
    }
    click.echo(json.dumps(report) if as_json else _in_words(report, wall_s))


def _periods(network: Network, num_periods: int, period_s: float, pace: float) -> Iterator[Telemetry]:
    """What each period brings, held back to `pace` times real time."""
    import time

    begin_s = time.monotonic()
    for index in range(num_periods):
        telemetry = network.run(period_s)
        if pace > 0:
            time.sleep(max(0.0, begin_s + (index + 1) * period_s / pace - time.monotonic()))
        yield telemetry


def _in_words(report: dict[str, object], wall_s: float) -> str:
    return (
        f"{report['out']}: {report['rows']} rows of {report['devices']} devices in {report['frames']} "
        f"frame{'' if report['frames'] == 1 else 's'}, "
        f"{report['bytes']} bytes, {report['bytes_per_row']} bytes a row; {wall_s:.1f} s"
    )

"""`edgewright convert`: any recording this project reads becomes one of its own."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--exact", "is_exact", is_flag=True, help="Keep every bit; the default rounds to the declared precision.")
@click.option(
    "--columns",
    "mapping",
    metavar="JSON",
    help='Columns of a plain CSV, as {"time_s": "ts*0.001", "device_id": "ue", "served_bits": "kbps*1000"}.',
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def convert(source: Path, target: Path, *, is_exact: bool, mapping: str | None, as_json: bool) -> None:
    """Convert the recording SOURCE (SCOPE, EXPLORA, Irish 5G, KPM, CSV or Parquet) to TARGET, a Parquet file."""
    from rich.console import Console
    from rich.progress import track

    from telemetry_sim.traces import ParquetRecorder, open_trace

    _check_target(source, target)
    trace = open_trace(source, columns=_parsed(mapping))
    summary = trace.summary
    waiting = deque(trace.logs()), deque(trace.alarms()), deque(trace.decisions)
    with ParquetRecorder(
        target,
        trace.topology,
        is_exact=is_exact,
        start_unix_s=None if math.isnan(summary.start_unix_s) else summary.start_unix_s,
        notes={"source_format": summary.format} | dict(summary.notes),
    ) as recorder:
        console = Console(stderr=True)
        frames = track(trace.frames(), "Converting", total=summary.num_frames, console=console, transient=True)
        for number, frame in enumerate(frames, start=1):
            # What came in after the last frame stays with it.
            until_s = frame.time_s if number < summary.num_frames else math.inf
            logs, alarms, decisions = (_taken(queue, until_s) for queue in waiting)
            recorder.write(frame, logs, alarms, decisions)
        size = recorder.close()
    report = {
        "source": str(source),
        "target": str(target),
        "format": summary.format,
        "rows_read": summary.rows_read,
        "rows_accepted": summary.rows_accepted,
        "quarantined": dict(summary.quarantined),
        "frames": size.num_frames,
        "devices": summary.num_devices,
        "rows_written": size.num_rows,
        "decisions": len(trace.decisions),
        "bytes": size.num_bytes,
        "bytes_per_row": round(size.bytes_per_row, 3),
        "precision": "exact" if is_exact else "compact",
    }
    click.echo(json.dumps(report) if as_json else _in_words(report))


def _check_target(source: Path, target: Path) -> None:
    from telemetry_sim.errors import TraceUnreadable
    from telemetry_sim.same_file import is_same_file

    if target.suffix != ".parquet":
        raise TraceUnreadable(f"{target}: the target's name must end in .parquet")
    if is_same_file(source, target):
        raise TraceUnreadable(f"{target}: source and target must differ")
    if not target.resolve().parent.is_dir():
        raise TraceUnreadable(f"{target}: its folder does not exist")


def _parsed(mapping: str | None) -> dict[str, str] | None:
    from telemetry_sim.errors import TraceUnreadable

    if mapping is None:
        return None
    try:
        parsed = json.loads(mapping)
    except ValueError as error:
        raise TraceUnreadable(f"--columns {mapping!r}: not JSON: {error}") from error
    if not isinstance(parsed, dict) or not parsed or not all(isinstance(value, str) for value in parsed.values()):
        raise TraceUnreadable(f"--columns {mapping!r}: expected a JSON object of field to column")
    return parsed


def _taken(queue: deque[Any], until_s: float) -> list[Any]:
    """What the queue holds up to a time, taken out of it."""
    taken = []
    while queue and queue[0].time_s <= until_s:
        taken.append(queue.popleft())
    return taken


def _in_words(report: dict[str, object]) -> str:
    return (
        f"{report['source']} ({report['format']}): {report['rows_read']} rows read, "
        f"{report['rows_accepted']} accepted, quarantined {report['quarantined'] or 'none'}\n"
        f"{report['target']}: {report['rows_written']} rows in {report['frames']} frames, {report['bytes']} bytes, "
        f"{report['bytes_per_row']} bytes a row"
    )

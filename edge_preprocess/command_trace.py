"""The sub-command `digest trace`: the digests of a recording."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from telemetry_sim.finite_range import FiniteRange

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

    from edge_preprocess.digest import EdgeDigest
    from edge_preprocess.trace_report import TraceReport


_PIPED_WIDTH = 200
_RECORDED = frozenset({".csv", ".json", ".log", ".txt", ".parquet"})
"""What the files of a recording that is a folder end with."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--interval", "interval_s", type=FiniteRange(min=0.1), default=10.0, show_default=True, help="Seconds.")
@click.option("--rows", type=click.Path(path_type=Path, dir_okay=False), help="Write one JSON line per digest here.")
@click.option("--limit", type=click.IntRange(min=0), default=12, show_default=True, help="Digests to show.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
def trace(file: Path, interval_s: float, rows: Path | None, limit: int, *, as_json: bool) -> None:
    """Show what edge nodes would say about the recording FILE (any format that `replay` reads)."""
    from rich.console import Console
    from rich.progress import Progress

    from edge_preprocess.trace_report import TraceDigests

    _check_rows(file, rows)
    run = TraceDigests(file, interval_s=interval_s)
    shown: list[EdgeDigest] = []
    with ExitStack() as stack:
        target = stack.enter_context(_writable(rows)) if rows is not None else None
        progress = stack.enter_context(Progress(console=Console(stderr=True), transient=True))
        task = progress.add_task("intervals", total=_end_s(run.report))
        for digest in run.digests(_updater(progress, task)):
            if target is not None:
                target.write(digest.model_dump_json() + "\n")
            if len(shown) < limit:
                shown.append(digest)
    if as_json:
        click.echo(json.dumps(_document(file, run.report, shown), indent=2))
    else:
        _show(run.report, shown)


def _check_rows(file: Path, rows: Path | None) -> None:
    """Raise SourceUnreadable where the rows would replace a part of the recording."""
    from edge_preprocess.distinct_files import check_distinct

    parts = sorted(part for part in file.iterdir() if part.suffix in _RECORDED) if file.is_dir() else [file]
    for part in parts:
        check_distinct({"FILE": part, "--rows": rows})


def _updater(progress: Any, task: Any) -> Callable[[float], None]:
    return lambda time_s: progress.update(task, completed=time_s)


def _end_s(report: TraceReport) -> float | None:
    return max((end for _, end in report.summary.runs_s), default=None)


def _writable(rows: Path) -> TextIO:
    from edge_preprocess.errors import SourceUnreadable

    try:
        return rows.open("w", encoding="utf-8")
    except OSError as error:
        raise SourceUnreadable(f"--rows {str(rows)!r}: {error.strerror}; a writable file was expected") from error


def _document(file: Path, report: TraceReport, shown: list[EdgeDigest]) -> dict[str, object]:
    summary = report.summary
    return {
        "source": str(file),
        "format": summary.format,
        "trace_rows": {
            "read": summary.rows_read,
            "accepted": summary.rows_accepted,
            "quarantined": dict(summary.quarantined),
        },
        "edge_rows": {
            "received": report.num_received,
            "accepted": report.num_accepted,
            "quarantined": dict(report.edge_quarantined.most_common()),
        },
        "interval_s": report.interval_s,
        "num_digests": report.num_digests,
        "mean_digest_bytes": round(report.digest_bytes / max(report.num_digests, 1), 1),
        "slowest_interval_cpu_ms": round(report.slowest_ms, 3),
        "num_anomalies": dict(report.num_anomalies.most_common()),
        "unknown": list(report.unknown),
        "digests": [digest.model_dump(mode="json") for digest in shown],
    }


def _show(report: TraceReport, shown: list[EdgeDigest]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{report.num_digests} digests of {report.interval_s:g} s ({report.summary.format})")
    for name in (
        "until",
        "cell",
        "slice",
        "devices",
        "demand kb/s",
        "served kb/s",
        "in time",
        "p95 ms",
        "kb/s per PRB",
        "SLA risk",
    ):
        table.add_column(name, justify="right", no_wrap=True, overflow="fold")
    for digest in shown:
        for one in digest.slices:
            delay_ms = one.delay_p95_ms if one.is_delay_measured else None
            figures = (one.demand_kbps, one.served_kbps, one.in_time_ratio, delay_ms, one.kbps_per_prb)
            place = (f"{digest.end_s:g}", str(digest.cell), str(one.slice), str(one.num_devices))
            risk = "" if one.sla_risk is None else f"{one.sla_risk:.2f}"
            table.add_row(*place, *("-" if figure is None else f"{figure:g}" for figure in figures), risk)
    console = Console()
    if not console.is_terminal:
        # Where nobody watches there is no edge to wrap at.
        console = Console(width=_PIPED_WIDTH)
    console.print(table)
    refused = report.num_received - report.num_accepted
    if report.unknown:
        console.print(f"not in the recording, so a guess or a 0 in the digests: {', '.join(report.unknown)}")
    console.print(f"edge rows: {report.num_received} = {report.num_accepted} accepted + {refused} quarantined")

"""The sub-command `digest signal`: a score per row of a CSV, alarms and lasting changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge_preprocess.signal_report import SignalReport


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write timestamp,value,anomaly_score here, one row per input row; - is the standard output.",
)
@click.option("--column", help="The value's column; by default the one called value, else the first after the time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the table.")
def signal(file: Path, rows: Path | None, column: str | None, *, as_json: bool) -> None:
    """Show what an edge node makes of the signal in the CSV FILE (- reads the standard input as it comes).

    A row's score (0-1, an alarm from 0.5) depends on the rows before it alone. Rows that hold no usable number score 0
    and are counted with their reason.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from edge_preprocess.distinct_files import check_distinct
    from edge_preprocess.signal_report import digest_signal

    check_distinct({"FILE": file, "--rows": rows})
    is_piped = rows is not None and str(rows) == "-"
    columns = (TextColumn("{task.completed} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=None)
        report = digest_signal(file, rows=rows, column=column, progress=lambda n: progress.update(task, completed=n))
    if as_json:
        click.echo(json.dumps(_document(file, report), indent=2), err=is_piped)
    else:
        _show(report, is_piped=is_piped)
    report.counts.check(str(file))


def _document(file: Path, report: SignalReport) -> dict[str, object]:
    counts = report.counts
    return {
        "source": str(file),
        "column": None if counts.column is None else {"number": counts.column.number, "name": counts.column.name},
        "rows": {
            "received": counts.num_received,
            "accepted": counts.num_accepted,
            "quarantined": dict(counts.quarantined.most_common()),
        },
        "alarm_threshold": 0.5,
        "num_alarms": report.num_alarms,
        "alarms": [
            {"row": alarm.row, "timestamp": alarm.timestamp, "value": alarm.value, "anomaly_score": alarm.score}
            for alarm in report.alarms
        ],
        "num_change_points": report.num_change_points,
        "change_points": [{"row": change.row, "timestamp": change.timestamp} for change in report.change_points],
        "cpu_s": round(report.cpu_s, 3),
    }


def _show(report: SignalReport, *, is_piped: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    counts = report.counts
    console = Console(stderr=is_piped)
    table = Table(title=f"{report.num_alarms} alarms, {report.num_change_points} lasting changes")
    for name in ("row", "timestamp", "value", "score"):
        table.add_column(name, justify="right")
    for alarm in report.alarms[:20]:
        table.add_row(str(alarm.row), escape(alarm.timestamp), f"{alarm.value:g}", f"{alarm.score:.3f}")
    console.print(table)
    if counts.column is not None:
        name = "" if counts.column.name is None else f", {counts.column.name!r}"
        console.print(f"values of column {counts.column.number}{escape(name)}", highlight=False)
    console.print(
        f"{counts.num_received} rows = {counts.num_accepted} accepted + {counts.quarantined.total()} quarantined"
    )
    for reason, number in counts.quarantined.most_common():
        console.print(f"  {reason}: {number}")

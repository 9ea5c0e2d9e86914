"""The sub-command `digest logs`: templates, counters and quarantine of a log file or stream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge_preprocess.log_match import LogMatch


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--rows",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write line,template_id,template,parameters here, one row per input line; - is the standard output.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the tables.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Go on with the templates saved here, and save them here afterwards.",
)
@click.option(
    "--site-key",
    "key_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Make rows that may leave the site: names keyed with this file (made if missing) for texts, no templates.",
)
@click.option("--top", type=click.IntRange(min=1), default=15, show_default=True, help="Templates to list.")
def logs(file: Path, rows: Path | None, *, as_json: bool, state: Path | None, key_file: Path | None, top: int) -> None:
    """Show what an edge node makes of the log FILE (- reads the standard input as it comes).

    No format needs to be given. A file is read twice for --rows, so that its rows carry the templates as known at the
    end; a stream's rows carry them as known when the line came.
    """
    from edge_preprocess.distinct_files import check_distinct
    from edge_preprocess.log_reader import digest_logs
    from edge_preprocess.log_report import render_json, render_tables
    from edge_preprocess.site_key import SiteKey

    check_distinct({"FILE": file, "--rows": rows, "--state": state, "--site-key": key_file})
    is_piped = rows is not None and str(rows) == "-"
    # New templates are shown as they come where somebody may be watching a stream.
    is_watched = str(file) == "-" and not as_json and not is_piped
    key = SiteKey.load(key_file) if key_file is not None else None
    report = digest_logs(
        file, rows=rows, state=state, announce=_announce if is_watched and key is None else None, site_key=key
    )
    if as_json:
        click.echo(render_json(report), err=is_piped)
    else:
        render_tables(report, top=top, to_stderr=is_piped)
    report.check()


def _announce(match: LogMatch) -> None:
    click.echo(f"new {match.template_id} {match.severity or 'info'}: {match.template}")

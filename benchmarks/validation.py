"""Is the simulated network true? Every figure measured now, its target beside it.

python benchmarks/validation.py --data ../shared/data --json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

# Beside the script lie its parts; above it the project.
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default="../shared/data",
    envvar="EDGEWRIGHT_DATA",
)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
@click.option("--queue-seconds", type=click.FloatRange(min=10), default=2000.0, show_default=True, help="Simulated.")
@click.option("--logs", default="**/*.log", show_default=True, help="Which EXPLORA logs to replay, as a pattern.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(data: Path, seed: int, queue_seconds: float, logs: str, *, as_json: bool) -> None:
    """Compare the simulator with published formulas and recorded cells."""
    from rich.console import Console
    from validation_cell import cell_figures
    from validation_queues import queue_figures
    from validation_radio import radio_figures
    from validation_traces import irish_figures, tractor_figures

    console = Console(stderr=True)
    figures = []
    for name, measure in (
        ("radio formulas", lambda: radio_figures(data, seed)),
        ("queues", lambda: queue_figures(duration_s=queue_seconds, seed=3)),
        ("TRACTOR's cell", lambda: tractor_figures(data)),
        ("Irish 5G logs", lambda: irish_figures(data)),
        ("EXPLORA's cell", lambda: cell_figures(data, logs)),
    ):
        console.print(f"measuring {name} ...")
        figures += measure()
    if as_json:
        click.echo(json.dumps({"figures": figures}))
        return
    for entry in figures:
        verdict = {True: "holds", False: "MISSED", None: ""}[entry["holds"]]
        more = {key: value for key, value in entry.items() if key not in {"figure", "measured", "target", "holds"}}
        click.echo(f"{entry['figure']}: {entry['measured']:.6g} (target {entry['target']}) {verdict} {more or ''}")


if __name__ == "__main__":
    main()

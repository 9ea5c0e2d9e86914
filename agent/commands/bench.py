"""`edgewright bench`: planners over many episodes, with confidence intervals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click


@click.group()
def bench() -> None:
    """Measure planners over many episodes."""


@bench.command()
@click.option(
    "--episodes", default=60, show_default=True, type=click.IntRange(2, 100_000), help="Seeds times scenarios."
)
@click.option(
    "--intervals", default=20, show_default=True, type=click.IntRange(2, 10_000), help="Decisions per episode."
)
@click.option("--scenario", "scenarios", multiple=True, help="Only these (repeatable). Default: all.")
@click.option("--seed", default=1000, show_default=True, type=click.IntRange(0, 99_000), help="First seed.")
@click.option(
    "--model", default=None, help="Model folder, cached hub name or endpoint URL; the embedded one by default."
)
@click.option("--adapter", default=None, type=click.Path(path_type=Path), help="PEFT adapter on the model.")
@click.option(
    "--work",
    default=Path(".edgewright/bench"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Finished episodes; run again to resume.",
)
@click.option(
    "--workers", "num_workers", default=None, type=click.IntRange(1, 256), help="Processes. Default: one a CPU."
)
@click.option("--quick", is_flag=True, help="12 episodes of 10 intervals.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def policies(
    *,
    episodes: int,
    intervals: int,
    scenarios: tuple[str, ...],
    seed: int,
    model: str | None,
    adapter: Path | None,
    work: Path,
    num_workers: int | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Compare all planners on the same episodes, with bootstrap 95 % intervals, paired by seed."""
    from rich.console import Console
    from rich.progress import Progress

    from agent.output_folder import claim_folder
    from agent.policy_bench import BenchPlan, run_bench

    plan = BenchPlan.make(
        num_episodes=12 if quick else episodes,
        num_intervals=10 if quick else intervals,
        scenarios=scenarios,
        first_seed=seed,
    )
    claim_folder("--work", work)
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("episodes", total=plan.num_runs)
        document = run_bench(
            plan,
            model=model,
            adapter=adapter,
            work=work,
            num_workers=num_workers or os.cpu_count() or 1,
            on_episode=lambda: bars.advance(task),
            on_warning=lambda text: bars.console.print(f"WARNING: {text}", style="red", markup=False, soft_wrap=True),
        )
    if as_json:
        click.echo(json.dumps(document, indent=2, sort_keys=True))
        return
    from agent.report.tables import bench_table, figures_table

    Console().print(bench_table(document))
    Console().print(figures_table(document["figures"]))

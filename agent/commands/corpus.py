"""`edgewright corpus`: what each site saw, as prompt-completion rows for `edgewright finetune`."""

from __future__ import annotations

import json
from hashlib import sha256
from itertools import chain
from pathlib import Path

import click


@click.command()
@click.option("--scenario", "scenarios", multiple=True, required=True, help="One site per scenario named (repeatable).")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; one JSONL file per site.")
@click.option("--runs", default=4, show_default=True, type=click.IntRange(1, 10_000), help="Runs per site.")
@click.option("--intervals", default=30, show_default=True, type=click.IntRange(2, 10_000), help="Decisions per run.")
@click.option(
    "--variants",
    default=2,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Examples per digest: the site's own goal, then other demands and goals.",
)
@click.option(
    "--without-fault",
    "without_faults",
    multiple=True,
    metavar="KIND",
    help="A kind of fault no site meets (repeatable).",
)
@click.option(
    "--without-goal",
    "without_goals",
    multiple=True,
    metavar="KIND",
    help="A kind of goal no site is given (repeatable); floors and energy goals leave rehearsed rows, too.",
)
@click.option(
    "--rehearsed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 1_000_000),
    help="Rows of random cells added to each site's, so that a base trained on such keeps what it knows.",
)
@click.option("--devices", default=None, type=click.IntRange(4, 1_000_000), help="Default: the scenario's own number.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 1_000_000), help="Offset of training seeds."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def corpus(
    *,
    scenarios: tuple[str, ...],
    out: Path,
    runs: int,
    intervals: int,
    variants: int,
    without_faults: tuple[str, ...],
    without_goals: tuple[str, ...],
    rehearsed: int,
    devices: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write a training corpus per site: its digests and goals as prompts, the expert's plans as completions.

    Rehearsed rows are random cells with the optimiser's plans; their weights and delay budgets are the cells' own.

    Seeds start at 100000, which `run` and `bench` never use. Raw telemetry does not enter the files.
    """
    from rich.console import Console
    from rich.progress import track

    from agent.corpus_export import FIRST_TRAINING_SEED, rehearsed_examples, site_examples, site_without
    from agent.errors import AgentInputInvalid
    from agent.output_folder import claim_folder
    from agent.pretraining.corpus import write_examples

    sites = {
        name: site_without(name, faults=without_faults, goals=without_goals, num_devices=devices) for name in scenarios
    }
    claim_folder("--out", out)
    written = {}
    for name, site in sites.items():
        seeds = range(FIRST_TRAINING_SEED + seed, FIRST_TRAINING_SEED + seed + runs)
        shown = track(seeds, description=name, console=Console(stderr=True))
        rows = (
            example
            for run_seed in shown
            for example in site_examples(site, num_intervals=intervals, seed=run_seed, variants=variants)
        )
        # Of the site's own name, so that it gets the same rows alone and in company.
        own_seed = int.from_bytes(sha256(f"{name} {seed}".encode()).digest()[:8])
        others = rehearsed_examples(site, num_examples=rehearsed, seed=own_seed)
        path = out / f"{name}.jsonl"
        try:
            written[name] = write_examples(chain(rows, others), path)
        except OSError as error:
            raise AgentInputInvalid(f"--out {str(path)!r}: {error.strerror}; a writable file was expected") from error
    if as_json:
        click.echo(json.dumps({"folder": str(out), "rows": written}, indent=2))
    else:
        for name, count in written.items():
            click.echo(f"{out / name}.jsonl  {count} rows")

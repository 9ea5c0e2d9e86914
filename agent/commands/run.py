"""`edgewright run`: the closed loop on a simulated scenario, then the comparison of planners."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.commands.goal_file import read_goal

if TYPE_CHECKING:
    from agent.comparison import Episode, EpisodeSettings
    from agent.planner import Planner

_HELD_OUT = "Seeds below 100000 are never used in training."
_ON_EVENTS = "llm_gated_on_events"
_STAND_IN = "For gated planners the expert stands in, raw ones make no plan; every such decision is counted."


@click.command()
@click.option("--scenario", "scenario_name", default="smart-city", show_default=True, help="See `simulate --list`.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0, 99_999), help=f"First seed. {_HELD_OUT}")
@click.option(
    "--seeds", "num_seeds", default=3, show_default=True, type=click.IntRange(1, 1000), help="How many seeds."
)
@click.option("--intervals", default=40, show_default=True, type=click.IntRange(2, 100_000), help="Decisions per run.")
@click.option("--interval", "interval_s", default=10, show_default=True, type=click.IntRange(1, 600), help="Seconds.")
@click.option("--devices", default=None, type=click.IntRange(4, 1_000_000), help="Default: the scenario's own number.")
@click.option(
    "--model", default=None, help="Model folder, cached hub name or endpoint URL; the embedded one by default."
)
@click.option("--adapter", default=None, type=click.Path(path_type=Path), help="PEFT adapter, compared with its base.")
@click.option(
    "--goal", "goal_file", default=None, type=click.Path(path_type=Path), help="Goal as a JSON file: id, expectations."
)
@click.option("--planner", "only", multiple=True, help="Only these planners (repeatable).")
@click.option(
    "--on-events", is_flag=True, help="Also the gated model asked only where a forecast, a fault or a goal asks for it."
)
@click.option("--device", default="auto", show_default=True, help="Where the model runs: auto, cpu or cuda.")
@click.option("--out", "out", default=None, type=click.Path(path_type=Path), help="Report folder. Default: reports/…")
@click.option("--no-report", is_flag=True, help="Write no report folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; timings under `timings`.")
def run(
    *,
    scenario_name: str,
    seed: int,
    num_seeds: int,
    intervals: int,
    interval_s: int,
    devices: int | None,
    model: str | None,
    adapter: Path | None,
    goal_file: Path | None,
    only: tuple[str, ...],
    on_events: bool,
    device: str,
    out: Path | None,
    no_report: bool,
    as_json: bool,
) -> None:
    """Run the closed loop on a simulated network and compare planners on the same seeds.

    Telemetry becomes digests, the language model writes a policy for every cell, the policy is checked, tried in the
    twin, dispatched and obeyed. Then every other planner runs on the same seeds.
    """
    from agent.comparison import EpisodeSettings
    from agent.comparison_run import run_comparison
    from agent.corpus_export import refuse_training_seeds
    from agent.live_view import LiveView
    from agent.report.document import comparison_document, timings_document
    from telemetry_sim.scenarios import scenario

    settings = EpisodeSettings(
        scenario=scenario_name,
        num_intervals=intervals,
        interval_s=float(interval_s),
        num_devices=devices,
        goals=read_goal(goal_file, scenario(scenario_name).topology),
    )
    settings.check()
    refuse_training_seeds(seed + num_seeds - 1)
    planners, warnings = _planners(model, adapter, device, only, on_events=on_events)
    for warning in warnings:
        click.secho(f"WARNING: {warning}. {_STAND_IN}", err=True, fg="red")
    seeds = tuple(range(seed, seed + num_seeds))
    folder = None if no_report else _claim_report_folder(out, settings, seeds)
    with LiveView(is_quiet=as_json and not sys.stderr.isatty()) as view:
        view.expect(len(planners) * len(seeds) * intervals)
        episodes = run_comparison(settings, planners, seeds, view)
    document = comparison_document(settings, seeds, episodes, warnings)
    if folder is not None:
        _write_report(folder, episodes, document)
    if as_json:
        click.echo(json.dumps({**document, "timings": timings_document(episodes)}, indent=2, sort_keys=True))
        return
    _print_summary(document, folder)


def _planners(
    model: str | None, adapter: Path | None, device: str, only: tuple[str, ...], *, on_events: bool
) -> tuple[list[Planner], list[str]]:
    """Gated model first (it is what the live table shows), then raw, then everything without a model."""
    from agent.bootstrap import load_wanted_model, pick_device
    from agent.errors import AgentInputInvalid
    from agent.event_planner import EventPlanner
    from agent.planner import GatedModelPlanner, RawModelPlanner, baseline_planners

    if adapter is not None and only and not any(name.startswith("llm_tuned_") for name in only):
        raise AgentInputInvalid(
            f"--planner {', '.join(only)}: none of them uses --adapter {str(adapter)!r}; "
            "llm_tuned_gated and llm_tuned_raw do"
        )
    formulas = list(baseline_planners())
    if on_events and only:
        only = (*only, _ON_EVENTS)
    if model is not None and only and set(only) <= {planner.name for planner in formulas}:
        raise AgentInputInvalid(f"--planner {', '.join(only)}: none of them asks --model {model!r}; llm_gated does")
    if only and set(only) <= {planner.name for planner in formulas}:
        return [planner for planner in formulas if planner.name in only], []
    loaded, warning = load_wanted_model(model, device=pick_device(device))
    warnings = [warning] if warning else []
    planners: list[Planner] = [GatedModelPlanner(model=loaded), RawModelPlanner(model=loaded)]
    if on_events:
        planners.append(EventPlanner(planner=GatedModelPlanner(model=loaded)))
    if adapter is not None:
        tuned, _ = load_wanted_model(model, adapter=adapter, device=pick_device(device))
        planners += [
            GatedModelPlanner(model=tuned, name="llm_tuned_gated"),
            RawModelPlanner(model=tuned, name="llm_tuned_raw"),
        ]
    planners += formulas
    names = [planner.name for planner in planners]
    unknown = set(only) - set(names)
    if unknown:
        raise AgentInputInvalid(f"planner {sorted(unknown)} is unknown; planners are {', '.join(names)}")
    return [planner for planner in planners if not only or planner.name in only], warnings


def _claim_report_folder(out: Path | None, settings: EpisodeSettings, seeds: tuple[int, ...]) -> Path:
    from agent.output_folder import claim_folder

    folder = out or Path("reports") / f"{settings.scenario}-seed{seeds[0]}x{len(seeds)}"
    claim_folder("--out", folder)
    return folder


def _write_report(folder: Path, episodes: tuple[Episode, ...], document: Any) -> None:
    from agent.report.folder import write_report

    write_report(folder, episodes, document)


def _print_summary(document: Any, folder: Path | None) -> None:
    from rich.console import Console

    from agent.report.tables import comparison_table

    # Without a terminal rich assumes 80 columns, which would cut every figure short.
    console = Console() if sys.stdout.isatty() else Console(width=132)
    console.print(comparison_table(document))
    if folder is not None:
        console.print(f"Report: [bold]{folder}/report.md[/bold]  (plots, policies, decisions.jsonl)")

"""`edgewright pretrain`: build the embedded model from nothing, in stages that can be interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agent.pretraining.twin_fitting import FittingPlan
    from agent.weight_building import PretrainingSchedule

_QUICK_OPERATOR_STEPS = 300
_UNUSED = {
    "operator": {
        "device": "the operator's model learns on the CPU",
        "threads": "the operator's model learns on one thread",
    },
    "twin": {
        "work": "the twin is fitted in one go",
        "steps": "the twin learns for a fixed time",
        "device": "the twin is fitted on the CPU",
    },
}
"""Options that a task has no use for, with the reason."""


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the weights; needed but for --dry-run.")
@click.option(
    "--work",
    default=Path(".edgewright/pretrain"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Corpora and checkpoints, apart for each task and seed; run again to resume. Not the twin's.",
)
@click.option(
    "--task",
    type=click.Choice(("policy", "operator", "twin")),
    default="policy",
    show_default=True,
    help="The policy model, the one that reads the operator's language in the chat, or the twin that judges plans.",
)
@click.option("--quick", is_flag=True, help="Minutes instead of hours, to a lower figure.")
@click.option(
    "--steps",
    default=None,
    type=click.IntRange(10, 10_000_000),
    help="Steps of the first stage; the operator's: on phrasings, after a sixth as many on nicknames, without --quick. "
    "Not the twin's.",
)
@click.option(
    "--seed", default=5, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Of corpora, weights and batches."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda; the policy's alone.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="CPU threads of torch; the twin's processes. Not the operator's.",
)
@click.option("--dry-run", is_flag=True, help="List the stages with their budgets and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def pretrain(
    *,
    out: Path | None,
    work: Path,
    task: str,
    quick: bool,
    steps: int | None,
    seed: int,
    device: str,
    threads: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Pretrain an embedded model: corpora, tokenizer, training, evaluation.

    The policy model reads digests of random cells, for which the optimiser writes the answers; what it learns of sites
    comes by `edgewright corpus` and `edgewright finetune`. The operator's model reads phrasings and writes tool calls.
    The twin is fitted to trials in the simulator, in one go.
    """
    _refuse_unused(click.get_current_context(), task, quick=quick)
    if dry_run:
        _print_plan(task, seed, steps, quick=quick, as_json=as_json)
        return
    if out is None:
        raise click.MissingParameter(param_type="option", param_hint="--out")
    if task == "twin":
        _fit_twin(_twin_plan(seed, quick=quick), out, threads, as_json=as_json)
    elif task == "operator":
        _train_operator(_operator_steps(steps, quick=quick), seed, out, work, as_json=as_json)
    else:
        _train_policy(_policy_schedule(seed, steps, quick=quick), out, work, device, threads, as_json=as_json)


def _refuse_unused(context: click.Context, task: str, *, quick: bool) -> None:
    """Raise BadParameter for an option that was typed and would change nothing."""
    unused = _UNUSED.get(task, {})
    if task == "operator" and quick:
        unused = unused | {"steps": f"--quick takes {_QUICK_OPERATOR_STEPS}"}
    for name, reason in unused.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.BadParameter(f"{context.params[name]} was given; {reason}", param_hint=f"--{name}")


def _policy_schedule(seed: int, steps: int | None, *, quick: bool) -> PretrainingSchedule:
    from agent.weight_building import full_schedule, quick_schedule

    schedule = quick_schedule(seed=seed) if quick else full_schedule(seed=seed)
    return schedule if steps is None else schedule.with_first_steps(steps)


def _operator_steps(steps: int | None, *, quick: bool) -> int:
    """On phrasings."""
    from agent.pretraining.operator_language.recipe import NUM_STEPS

    return _QUICK_OPERATOR_STEPS if quick else steps or NUM_STEPS


def _twin_plan(seed: int, *, quick: bool) -> FittingPlan:
    from agent.corpus_export import first_trial_seed
    from agent.pretraining.twin_fitting import FittingPlan

    make = FittingPlan.quick if quick else FittingPlan.full
    return make(seed=seed, first_seed=first_trial_seed(seed))


def _print_plan(task: str, seed: int, steps: int | None, *, quick: bool, as_json: bool) -> None:
    if task == "twin":
        plan = _twin_plan(seed, quick=quick)
        text = {"task": "twin", "runs_of_each_scenario": plan.num_runs, "epochs": plan.num_epochs, "seed": seed}
        shown = f"twin {plan.num_runs} runs of each scenario, then {plan.num_epochs} epochs"
        click.echo(json.dumps(text) if as_json else shown)
    elif task == "operator":
        from agent.pretraining.operator_language.recipe import expected_cpu_minutes, naming_steps

        num_steps = _operator_steps(steps, quick=quick)
        text = {"task": "operator", "naming_steps": naming_steps(num_steps), "steps": num_steps, "seed": seed}
        text |= {"expected_cpu_minutes": expected_cpu_minutes(num_steps)}
        shown = f"operator {text['naming_steps']:>6} steps of 128 nicknames, then {num_steps} of 64 phrasings"
        click.echo(json.dumps(text) if as_json else f"{shown}  about {text['expected_cpu_minutes']:.0f} CPU-minutes")
    else:
        _print_schedule(_policy_schedule(seed, steps, quick=quick), as_json=as_json)


def _print_schedule(schedule: PretrainingSchedule, *, as_json: bool) -> None:
    rows = [
        {"stage": s.name, "examples": s.num_examples, "steps": s.num_steps, "expected_cpu_minutes": s.cpu_minutes}
        for s in schedule.stages
    ]
    if as_json:
        click.echo(json.dumps({"seed": schedule.seed, "stages": rows}, indent=2))
        return
    for row in rows:
        click.echo(
            f"{row['stage']:12} {row['examples']:>8} examples {row['steps']:>6} steps  "
            f"about {row['expected_cpu_minutes']:.0f} CPU-minutes"
        )


def _train_policy(
    schedule: PretrainingSchedule, out: Path, work: Path, device: str, threads: int, *, as_json: bool
) -> None:
    from agent.output_folder import claim_folder

    claim_folder("--out", out)
    claim_folder("--work", work)
    record = _run(schedule, out, work, device, threads)
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        score = record["static"]
        click.echo(f"weights in {out}: {score['ratio_mean']:.4f} of the optimum on {score['num_instances']} instances")
    _refuse_if_short(record["static"]["gap_closed_mean"], schedule.least_gap_closed)


def _run(schedule: PretrainingSchedule, out: Path, work: Path, device: str, threads: int) -> dict[str, Any]:
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from agent.bootstrap import pick_device
    from agent.weight_building import build_weights

    torch.set_num_threads(threads)
    with Progress(console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def on_step(stage: str, done: int, total: int, loss: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, description=f"{stage} loss {loss:.3f}" if loss else stage)

        return build_weights(schedule, out=out, work=work, device=pick_device(device), on_step=on_step)


def _refuse_if_short(closed: float, least: float | None) -> None:
    """End with status 1 where the weights are worse than such a training gives."""
    if least is not None and closed < least:
        click.echo(
            f"Error: the weights close {closed:.3f} of the gap to the optimum; at least {least} was due", err=True
        )
        raise SystemExit(1)


def _train_operator(num_steps: int, seed: int, out: Path, work: Path, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from agent.output_folder import claim_folder
    from agent.pretraining.operator_language.recipe import train_operator_model

    claim_folder("--out", out)
    claim_folder("--work", work)
    with Progress(console=Console(stderr=True)) as bars:
        bar = bars.add_task("operator", total=num_steps)
        loss = train_operator_model(
            out,
            work=work / "operator" / f"seed-{seed}",
            seed=seed,
            num_steps=num_steps,
            on_step=lambda progress: bars.update(bar, completed=progress.step),
        )
    click.echo(json.dumps({"out": str(out), "loss": loss}) if as_json else f"weights in {out}, last loss {loss}")


def _fit_twin(plan: FittingPlan, out: Path, num_workers: int, *, as_json: bool) -> None:
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from agent.output_folder import claim_folder
    from agent.pretraining.twin_fitting import fit_twin

    claim_folder("--out", out)
    torch.set_num_threads(1)
    with Progress(console=Console(stderr=True)) as bars:
        trials, epochs = (
            bars.add_task(name, total=total) for name, total in (("trials", plan.total_runs), ("fit", plan.num_epochs))
        )
        model, record = fit_twin(
            plan,
            num_workers=num_workers,
            on_run=lambda: bars.advance(trials),
            on_epoch=lambda: bars.advance(epochs),
        )
    model.save(out / "model.safetensors")
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    first, best = record["first_plan_utility"], record["best_plan_utility"]
    shown = f"twin in {out}: utility {first} by the plan that it puts first, {best} by the best"
    click.echo(json.dumps(record) if as_json else shown)

"""What `edgewright casestudy` does: train, measure memory, run the virtual clock, write table and plots."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sfl_finetune.case_study import CaseStudySettings, Dealing, Trajectory, former_run, run_one
from sfl_finetune.case_study_encoder import QUICK_TEXTS, find_encoder, make_encoder
from sfl_finetune.case_study_report import Row, Stage, make_row, plot_all, table
from sfl_finetune.devices import CLIENTS, SERVER, Channel, Registry, read_registry
from sfl_finetune.errors import TrainingFailed
from sfl_finetune.interruption import INTERRUPTED
from sfl_finetune.labelled_texts import LabelledSplits, read_labelled
from sfl_finetune.memory import StepShape, measure_client, measure_server, measure_whole
from sfl_finetune.output_folder import claim_folder
from sfl_finetune.schemes import scheme_named
from sfl_finetune.workload import model_of, shape_only_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from transformers import PretrainedConfig

    from sfl_finetune.lora import LoraSettings
    from sfl_finetune.memory import SideMemory
    from sfl_finetune.round_report import RoundReport

_SHARED = {"sfl": "memory_efficient"}
"""Schemes whose course is another's, bit for bit: trained once, timed and measured twice."""

_SEQUENTIAL = frozenset({"centralised", "sl"})
"""Schemes whose step is one batch of 16, not the mean of six clients': they take six times as many in a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and how long a scheme learns where nothing else is asked for; docs/case-study.md has the sweep."""

    learning_rate: float
    num_rounds: int


_SEQUENTIAL_PACE = Pace(learning_rate=5e-4, num_rounds=80)
_AVERAGED_PACE = Pace(learning_rate=4e-3, num_rounds=160)
_QUICK_SEQUENTIAL_PACE = Pace(learning_rate=1.25e-3, num_rounds=16)
_QUICK_AVERAGED_PACE = Pace(learning_rate=5e-3, num_rounds=16)
_LEAST_GAIN = 0.05
"""Accuracy above the commonest class's share that a run must reach to have learnt anything."""


def run_casestudy(options: Mapping[str, Any], should_stop: Callable[[], bool]) -> None:
    """Run the command with its parsed options, until `should_stop` is true after a round."""
    out: Path = options["out"]
    # Devices and links are needed last; what is wrong with them must not come out after hours of training.
    known = read_registry(options["devices"])
    channel = replace(known.channel(options["link"], options["mbps"]), is_shared_cell=options["shared_cell"])
    splits = read_labelled(options["data"])
    encoder = find_encoder(options, splits, out)
    claim_folder("--out", out)
    settings = _settings(options, encoder or make_encoder(options, splits, out))
    if options["quick"]:
        # So small a model only makes threads wait for one another: beside other work five times the CPU seconds.
        torch.set_num_threads(1)
        splits = replace(splits, train=splits.train[:QUICK_TEXTS], validation=splits.validation[:240])
    dealings: tuple[Dealing, ...] = options["dealings"] or (("iid",) if options["quick"] else ("iid", "dirichlet"))
    schemes: tuple[str, ...] = options["schemes"]
    trained = dict.fromkeys(_SHARED.get(scheme, scheme) for scheme in schemes)
    courses = _former(options, settings, splits, trained, dealings, out) if options["report_only"] else {}
    if not options["report_only"]:
        courses = _train(options, settings, splits, trained, dealings, out, should_stop)
    was_interrupted = should_stop()
    stage = _stage(known, channel, settings, options["utilisation"])
    report = _report(options, settings, splits, stage, schemes, courses, out)
    if options["as_json"]:
        click.echo(json.dumps(report))
    else:
        click.echo((out / "report.md").read_text())
    check_learnt(courses.values(), splits)
    if was_interrupted:
        click.echo("Interrupted; the same command goes on where it stopped", err=True)
        sys.exit(INTERRUPTED)


def _former(
    options: Mapping[str, Any],
    settings: CaseStudySettings,
    splits: LabelledSplits,
    trained: Iterable[str],
    dealings: Sequence[Dealing],
    out: Path,
) -> dict[tuple[str, str], Trajectory]:
    found = {
        (scheme, dealing): former_run(
            splits, settings_for(options, settings, scheme), scheme, dealing, out / "runs" / f"{dealing}-{scheme}"
        )
        for scheme, dealing in planned_runs(trained, dealings)
    }
    return {key: course for key, course in found.items() if course is not None}


def _train(
    options: Mapping[str, Any],
    settings: CaseStudySettings,
    splits: LabelledSplits,
    trained: Iterable[str],
    dealings: Sequence[Dealing],
    out: Path,
    should_stop: Callable[[], bool],
) -> dict[tuple[str, str], Trajectory]:
    """Every scheme on every dealing, each from its last checkpoint, until `should_stop`."""
    courses: dict[tuple[str, str], Trajectory] = {}
    with _bars() as add_bar:
        for scheme, dealing in planned_runs(trained, dealings):
            if should_stop():
                break
            own = settings_for(options, settings, scheme)
            courses[scheme, dealing] = run_one(
                splits,
                own,
                scheme,
                dealing,
                out / "runs" / f"{dealing}-{scheme}",
                until_accuracy=options["target"] if options["until_target"] else None,
                on_round=add_bar(f"{scheme} ({dealing})", own.num_rounds),
                should_stop=should_stop,
            )
    return courses


def planned_runs(trained: Iterable[str], dealings: Sequence[Dealing]) -> list[tuple[str, Dealing]]:
    """What is trained; pooled texts know no dealing, so `centralised` runs once."""
    return [
        (scheme, dealing)
        for dealing in dealings
        for scheme in trained
        if scheme != "centralised" or dealing == dealings[0]
    ]


def pace_for(options: Mapping[str, Any], scheme: str) -> Pace:
    """The rate and the rounds asked for, else the scheme's own."""
    if scheme in _SEQUENTIAL:
        pace = _QUICK_SEQUENTIAL_PACE if options["quick"] else _SEQUENTIAL_PACE
    else:
        pace = _QUICK_AVERAGED_PACE if options["quick"] else _AVERAGED_PACE
    return Pace(
        learning_rate=float(options["learning_rate"] or pace.learning_rate),
        num_rounds=int(options["rounds"] or pace.num_rounds),
    )


def settings_for(options: Mapping[str, Any], settings: CaseStudySettings, scheme: str) -> CaseStudySettings:
    """The study's settings with a scheme's own pace."""
    return replace(settings, **asdict(pace_for(options, scheme)))


def check_learnt(courses: Iterable[Trajectory], splits: LabelledSplits) -> None:
    """Refuse complete runs that are hardly better than always naming the commonest class."""
    counts = Counter(row.label for row in splits.validation)
    least = max(counts.values()) / len(splits.validation) + _LEAST_GAIN
    for course in courses:
        found = course.accuracy[-1][1] if course.accuracy else 0.0
        if course.is_complete and found < least:
            raise TrainingFailed(
                f"{course.scheme} ({course.dealing}) learnt nothing: validation accuracy {found:.3f} after "
                f"{course.num_rounds} rounds; wanted at least {least:.3f}, the commonest class and {_LEAST_GAIN} more"
            )


def _settings(options: Mapping[str, Any], encoder: str) -> CaseStudySettings:
    settings = CaseStudySettings(
        model=encoder,
        **asdict(pace_for(options, "memory_efficient")),  # Each scheme's own pace takes its place.
        precision=options["precision"] or ("fp32" if options["quick"] else "bf16"),
        evaluate_every=options["evaluate_every"],
        seed=options["seed"],
    )
    if options["quick"]:
        return replace(settings, local_steps=2, evaluate_every=4, max_tokens=32)
    return settings


@contextmanager
def _bars() -> Iterator[Callable[[str, int], Callable[[RoundReport], None]]]:
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:

        def add(name: str, total: int) -> Callable[[RoundReport], None]:
            task = progress.add_task(name, total=total, loss="")
            return lambda report: progress.update(task, completed=report.round + 1, loss=f"loss {report.loss:.4f}")

        yield add


def _report(
    options: Mapping[str, Any],
    settings: CaseStudySettings,
    splits: LabelledSplits,
    stage: Stage,
    schemes: Sequence[str],
    courses: Mapping[tuple[str, str], Trajectory],
    out: Path,
) -> dict[str, Any]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(settings.model, num_labels=len(splits.labels), local_files_only=True)
    lora = settings.lora()
    rows: list[Row] = []
    shown: list[Trajectory] = []
    memory: dict[str, Any] = {}
    meta, meta_parts = shape_only_model(config, "classification", lora)
    for name in schemes:
        server, client = _measure(config, lora, name, settings, stage.shape)
        memory[name] = {"server": server.as_dict(), "largest_client": None if client is None else client.as_dict()}
        seconds = stage.seconds_per_round(meta, meta_parts, scheme_named(name))
        for (trained, _), course in courses.items():
            if trained == _SHARED.get(name, name):
                shown.append(replace(course, scheme=name))
                rows.append(
                    make_row(
                        shown[-1], seconds_per_round=seconds, server=server, client=client, target=options["target"]
                    )
                )
    timelines = {name: stage.timeline(meta, meta_parts, name) for name in schemes if name != "centralised"}
    if rows:
        plot_all(out, rows, shown, timelines)
    paces = {name: pace_for(options, name) for name in schemes}
    report = {
        "settings": asdict(settings)
        | {
            "learning_rate": {name: pace.learning_rate for name, pace in paces.items()},
            "num_rounds": {name: pace.num_rounds for name, pace in paces.items()},
        },
        "target_accuracy": options["target"],
        "num_train": len(splits.train),
        "num_validation": len(splits.validation),
        "memory_bytes": memory,
        "rows": [asdict(row) for row in rows],
        "courses": [asdict(course) for course in shown],
    }
    (out / "report.json").write_text(json.dumps(report, indent=1))
    (out / "report.md").write_text((table(rows) if rows else "Nothing was trained yet.") + "\n")
    return report


def _measure(
    config: PretrainedConfig, lora: LoraSettings, name: str, settings: CaseStudySettings, shape: StepShape
) -> tuple[SideMemory, SideMemory | None]:
    """Memory of the server and of the largest client, on real tensors."""
    scheme = scheme_named(name, precision=settings.precision)
    model, parts = model_of(config, "classification", lora, precision=scheme.precision)
    if not scheme.is_split:
        return measure_whole(model, shape), None
    server = measure_server(model, parts, settings.cut_layers, scheme, shape, max_turns=1)
    return server, measure_client(model, parts, max(settings.cut_layers), scheme, shape)


def _stage(known: Registry, channel: Channel, settings: CaseStudySettings, utilisation: float) -> Stage:
    return Stage(
        clients=tuple(replace(known.device(name), utilisation=utilisation) for name in CLIENTS),
        cuts=settings.cut_layers,
        server=replace(known.device(SERVER), utilisation=utilisation),
        channel=channel,
        shape=StepShape(batch_size=settings.batch_size, num_tokens=settings.max_tokens),
        local_steps=settings.local_steps,
    )

"""`edgewright replay`: the loop on recorded telemetry, and the test of decisions against recorded ones."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.commands.goal_file import read_goal
from telemetry_sim.finite_range import FiniteRange

if TYPE_CHECKING:
    from agent.goal import Goal
    from agent.planner import Planner
    from agent.replay.decisions_file import DecisionsHeader
    from agent.replay.document import ReplayFacts
    from agent.replay.drift import Drift
    from agent.replay.expectation import Expectation
    from agent.replay.read_ahead import ReadAheadModel
    from agent.replay.replaying import Replayer, ReplayResult
    from agent.replay.source import Cadence
    from telemetry_sim.records import Telemetry
    from telemetry_sim.traces import PeerDecision, TraceReader

_PIPE_WIDTH = 140
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("--planner", default="llm_gated", show_default=True, help="llm_gated, llm_raw, optimiser or a baseline.")
@click.option(
    "--model", default=None, help="Model folder, cached hub name or endpoint URL; the embedded one by default."
)
@click.option("--adapter", default=None, type=click.Path(path_type=Path), help="PEFT adapter folder.")
@click.option("--goal", "goal_file", default=None, type=click.Path(path_type=Path), help="Goal as a JSON file.")
@click.option(
    "--interval",
    "interval_s",
    default=None,
    type=FiniteRange(0.1, 3600),
    help="Seconds. Default: each state where the trace holds a peer's decisions, otherwise 10.",
)
@click.option("--record", default=None, type=_FILE, help="Write the decisions to this file.")
@click.option(
    "--resume", default=None, type=_FILE, help="Keep the model's answers in this file; where it exists, go on from it."
)
@click.option("--expect", default=None, type=_FILE, help="Exit with 1 where a decision differs from this file.")
@click.option("--tolerance", multiple=True, metavar="FIELD=VALUE", help="For --expect; VALUE is a number or `any`.")
@click.option("--limit", default=None, type=click.IntRange(1, 1_000_000_000), help="Intervals at most.")
@click.option("--speed", default=0.0, show_default=True, type=FiniteRange(min=0), help="1 is real time, 0 at once.")
@click.option("--seed", default=20_241, show_default=True, type=click.IntRange(0), help="Of the twin's futures.")
@click.option("--device", default="auto", show_default=True, help="Where the model runs: auto, cpu or cuda.")
@click.option("--out", default=None, type=click.Path(path_type=Path), help="Write a report with plots to this folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout; timings under `timings`.")
def replay(
    *,
    trace: Path,
    planner: str,
    model: str | None,
    adapter: Path | None,
    goal_file: Path | None,
    interval_s: float | None,
    record: Path | None,
    resume: Path | None,
    expect: Path | None,
    tolerance: tuple[str, ...],
    limit: int | None,
    speed: float,
    seed: int,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Replay the recording TRACE: a decision for every interval, and what it would have done.

    TRACE is a SCOPE folder, an EXPLORA xApp log, an Irish 5G or KPM CSV, one of this project's Parquet recordings, or
    any CSV with a column mapping beside it. A recording can't obey: nothing is sent to a network.
    """
    from agent.replay.decisions_file import Decisions, decision_rows, write_decisions
    from agent.replay.document import replay_document, timings_document

    expectation = _expectation(record, expect, tolerance)
    if out is not None:
        from agent.output_folder import claim_folder

        claim_folder("--out", out)
    session = _open_session(trace, goal_file, interval_s)
    chosen = _choose(planner, model, adapter, device, seed, resume)
    for warning in chosen.warnings:
        _warn(warning)
    header = _header(session, chosen, seed)
    if expectation is not None:
        expectation.check(header)
    _refuse_unwritable(record)
    replayer = _replayer(session, chosen, seed, speed)
    result = _run(replayer, session, limit, is_quiet=as_json and not sys.stderr.isatty())
    late = _late_warnings(chosen)
    for warning in late:
        _warn(warning)
    rows = tuple(decision_rows(result.cells, header.slices))
    document = replay_document(_facts(trace, session, chosen, replayer, seed, late), result)
    if record is not None:
        write_decisions(record, Decisions(header=header, rows=rows))
    drifts = () if expectation is None else expectation.compare(rows, limit)
    if expectation is not None:
        document["drift"] = [asdict(one) for one in drifts]
    if out is not None:
        from agent.replay.folder import write_replay_report

        write_replay_report(out, document)
    if as_json:
        timings = timings_document(result, 0.0 if chosen.ahead is None else chosen.ahead.elapsed_s)
        click.echo(json.dumps({**document, "timings": timings}, indent=2, sort_keys=True))
    else:
        _print(document, out)
    _hold_to(expectation, drifts, len(rows), is_quiet=as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What is replayed."""

    trace: TraceReader
    cadence: Cadence
    goals: tuple[Goal, ...]
    decisions: tuple[PeerDecision, ...]
    """The peer's that can be laid beside ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """Who decides."""

    planner: Planner
    ahead: ReadAheadModel | None = None
    is_remote: bool = False
    warnings: tuple[str, ...] = ()


def _expectation(record: Path | None, expect: Path | None, tolerances: tuple[str, ...]) -> Expectation | None:
    from agent.errors import AgentInputInvalid
    from agent.replay.drift import parse_tolerances
    from agent.replay.expectation import read_expectation

    if expect is None:
        if parse_tolerances(tolerances):
            raise AgentInputInvalid("--tolerance needs --expect FILE to compare with")
        return None
    if record is not None and record.resolve() == expect.resolve():
        raise AgentInputInvalid(f"--record and --expect name the same file {str(expect)!r}; it would be overwritten")
    return read_expectation(expect, tolerances)


def _hold_to(expectation: Expectation | None, drifts: tuple[Drift, ...], num_decisions: int, *, is_quiet: bool) -> None:
    """Say that the decisions are the expected ones; raises DecisionDrift where they are not."""
    if expectation is None:
        return
    expectation.raise_on(drifts, num_decisions)
    if not is_quiet:
        click.echo(expectation.told_met(num_decisions))


def _open_session(trace: Path, goal_file: Path | None, interval_s: float | None) -> _Session:
    from agent.replay.peer import usable_decisions
    from agent.replay.source import cadence_of
    from telemetry_sim.traces import open_trace

    reader = open_trace(trace)
    return _Session(
        trace=reader,
        cadence=cadence_of(reader, interval_s),
        goals=read_goal(goal_file, reader.topology),
        decisions=usable_decisions(reader),
    )


def _choose(
    planner: str, model: str | None, adapter: Path | None, device: str, seed: int, resume: Path | None
) -> _Chosen:
    from agent.errors import AgentInputInvalid
    from agent.planner import GatedModelPlanner, RawModelPlanner, baseline_planners
    from agent.twin import Twin

    baselines = {one.name: one for one in baseline_planners()}
    if planner in baselines:
        if resume is not None:
            raise AgentInputInvalid(f"--resume keeps a model's answers; planner {planner!r} asks none")
        for option, given in (("--model", model), ("--adapter", adapter)):
            if given is not None:
                raise AgentInputInvalid(f"{option} {str(given)!r}: planner {planner!r} asks no model; llm_gated does")
        return _Chosen(planner=baselines[planner])
    if planner not in {"llm_gated", "llm_raw"}:
        raise AgentInputInvalid(
            f"planner {planner!r} is unknown; planners are llm_gated, llm_raw, {', '.join(baselines)}"
        )
    from agent.bootstrap import EMBEDDED_WEIGHTS, load_wanted_model, pick_device
    from agent.replay.answer_journal import AnswerJournal
    from agent.replay.read_ahead import ReadAheadModel
    from agent.weights_mark import weights_mark

    loaded, warning = load_wanted_model(model, adapter=adapter, device=pick_device(device))
    is_remote = model is not None and model.startswith(("http://", "https://"))
    mark = weights_mark(EMBEDDED_WEIGHTS if model is None else model, adapter)
    ahead = ReadAheadModel(loaded, None if resume is None else AnswerJournal(resume, model=mark))
    if planner == "llm_raw":
        consequence = "Without it no plan is made, and every such decision is counted."
        deciding: Planner = RawModelPlanner(model=ahead, twin=Twin(seed=seed))
    else:
        consequence = "The expert stands in and every such decision is counted."
        deciding = GatedModelPlanner(model=ahead, twin=Twin(seed=seed))
    warnings = (f"{warning}. {consequence}",) if warning else ()
    return _Chosen(planner=deciding, ahead=ahead, is_remote=is_remote, warnings=warnings)


def _header(session: _Session, chosen: _Chosen, seed: int) -> DecisionsHeader:
    from agent.replay.decisions_file import DecisionsHeader

    return DecisionsHeader(
        format=session.trace.summary.format,
        slices=tuple(profile.name for profile in session.trace.topology.slices),
        interval_s=session.cadence.interval_s,
        is_per_state=session.cadence.is_per_state,
        planner=chosen.planner.name,
        model=None if chosen.ahead is None else chosen.ahead.name,
        seed=seed,
    )


def _refuse_unwritable(record: Path | None) -> None:
    """Tell before a long replay, not behind it."""
    from agent.errors import AgentInputInvalid

    if record is not None and not record.resolve().parent.is_dir():
        raise AgentInputInvalid(f"--record {str(record)!r}: its folder does not exist")


def _replayer(session: _Session, chosen: _Chosen, seed: int, speed: float) -> Replayer:
    from agent.bootstrap import build_replay_loop
    from agent.replay.replaying import Replayer
    from agent.twin import Twin

    return Replayer(
        loop=build_replay_loop(session.trace, chosen.planner, session.cadence, goals=session.goals),
        decisions=session.decisions,
        twin=Twin(seed=seed),
        model=chosen.ahead,
        is_model_remote=chosen.is_remote,
        pace=speed,
    )


def _warn(text: str) -> None:
    click.secho(f"WARNING: {text}", err=True, fg="red")


def _late_warnings(chosen: _Chosen) -> tuple[str, ...]:
    """What a model that was there at first failed to answer."""
    ahead = chosen.ahead
    if ahead is None or not ahead.num_failed or chosen.warnings:
        return ()
    return (f"{ahead.num_failed} of {ahead.num_asked} questions to the model had no answer; the last: {ahead.reason}",)


def _run(replayer: Replayer, session: _Session, limit: int | None, *, is_quiet: bool) -> ReplayResult:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, quiet=is_quiet)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        total = session.trace.summary.num_frames if limit is None else limit
        task = progress.add_task("frames" if limit is None else "intervals", total=total)

        def show(telemetry: Telemetry) -> None:
            progress.advance(task, len(telemetry.frames) if limit is None else 1)

        return replayer.run(limit=limit, on_interval=show)


def _facts(
    trace: Path, session: _Session, chosen: _Chosen, replayer: Replayer, seed: int, late: tuple[str, ...]
) -> ReplayFacts:
    from agent.replay.document import ReplayFacts

    return ReplayFacts(
        trace=str(trace),
        summary=session.trace.summary,
        topology=session.trace.topology,
        num_peer_decisions=len(session.decisions),
        num_peer_unusable=len(session.trace.decisions) - len(session.decisions),
        interval_s=session.cadence.interval_s,
        is_per_state=session.cadence.is_per_state,
        planner=chosen.planner.name,
        model=None if chosen.ahead is None else chosen.ahead.name,
        seed=seed,
        goals=tuple(goal.model_dump(mode="json") for goal in session.goals),
        warnings=(*chosen.warnings, *late),
        edge_quarantined=dict(replayer.loop.pipeline.quarantine_reasons),
    )


def _print(document: dict[str, Any], out: Path | None) -> None:
    from rich.console import Console

    from agent.replay.tables import replay_table, summary_lines

    # A pipe has no width of its own; the table needs about this much.
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    console.print(replay_table(document))
    for line in summary_lines(document):
        console.print(line, highlight=False)
    if out is not None:
        console.print(f"Report: [bold]{out}/report.md[/bold]  (plots, replay.json)")

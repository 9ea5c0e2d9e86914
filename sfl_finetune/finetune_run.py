"""What `edgewright finetune` does: options to settings, a progress bar, the adapter folder, a summary."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sfl_finetune.adapter_folder import holds_adapter, holds_readme, remove_adapter, save_adapter
from sfl_finetune.adapter_readme import Made, adapter_readme
from sfl_finetune.by_site import numbers, pairs
from sfl_finetune.checkpoint import CHECKPOINTS, has_checkpoint, remove_checkpoints
from sfl_finetune.corpus import texts_digest
from sfl_finetune.devices import SERVER, read_registry
from sfl_finetune.divergence import REMEDY, LossCourse, loss_on, sample_of
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.faults import Fault, parse_fault
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.finetune_summary import in_words
from sfl_finetune.interruption import INTERRUPTED
from sfl_finetune.lora import LoraSettings
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.output_folder import claim_folder
from sfl_finetune.recipes import Prepared, prepare_causal_lm, site_clock
from sfl_finetune.schemes import scheme_named
from sfl_finetune.training import RunSettings, check_tensorboard, train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sfl_finetune.corpus import Corpus, Site
    from sfl_finetune.devices import Channel, Device
    from sfl_finetune.round_report import RoundReport

_RUN = "run"
"""Folder in --out of the run's checkpoints and metrics."""
_CLOCK_TOKENS = 128
"""Length of the texts that the deadline's clock assumes where no limit is given."""


def run_finetune(options: Mapping[str, Any], should_stop: Callable[[], bool]) -> None:
    """Run the command with its parsed options, until `should_stop` is true after a round."""
    _check_place(options)
    if options["tensorboard"]:
        check_tensorboard()
    clock = _clock(options)
    prepared = _prepare(options, clock)
    out: Path = options["out"]
    run = RunSettings(
        folder=out / _RUN,
        checkpoint_every=options["checkpoint_every"],
        evaluate_every=options["evaluate_every"] if prepared.validation else 0,
        patience=options["patience"],
        is_resumed=options["resume"],
        has_tensorboard=options["tensorboard"],
        # Clock and drills decide who sits out: with others the rounds to come would be another run's.
        fingerprint=_texts_digest(prepared) + ("" if clock is None else repr(clock)) + repr(_faults(options)),
    )
    claim_folder("--out", out)
    _tell_what_is_left_out(prepared.corpus)
    damaged = "the base, or the adapter to start from, is damaged"
    start = None if should_stop() else _loss(prepared, otherwise=damaged)
    if options["overwrite"]:
        # Before the run: one that fails would leave another's adapter for its own, or its checkpoints to --resume.
        remove_adapter(out)
        remove_checkpoints(out / _RUN / CHECKPOINTS)
    made = _train(prepared, run, options, start, should_stop)
    if not made.result.was_interrupted:
        save_adapter(prepared.federation.tuned, out, base=prepared.base, readme=adapter_readme(made))
    _report(made, options)
    if made.result.was_interrupted:
        click.echo(f"Interrupted after round {made.result.num_rounds}; run again with --resume to go on", err=True)
        sys.exit(INTERRUPTED)


def _check_place(options: Mapping[str, Any]) -> None:
    """Refuse to write over what somebody may still want."""
    out: Path = options["out"]
    start: Path | None = options["start_from"]
    if options["resume"] and options["overwrite"]:
        raise SettingInvalid("--resume goes on with the run that --overwrite would replace; give one of them")
    if start is not None and start.resolve() == out.resolve():
        raise SettingInvalid(f"--out {str(out)!r} is the adapter to start from; give another folder")
    has_adapter, has_run = holds_adapter(out), has_checkpoint(out / _RUN / CHECKPOINTS)
    if has_adapter and not (options["resume"] or options["overwrite"]):
        raise SettingInvalid(
            f"--out {str(out)!r} holds an adapter already; give another folder, or --overwrite to replace it"
        )
    if has_run and not (options["resume"] or options["overwrite"]):
        raise SettingInvalid(
            f"--out {str(out)!r} holds an unfinished run; --resume goes on with it, --overwrite begins anew"
        )
    if holds_readme(out) and not (has_adapter or has_run):
        raise SettingInvalid(
            f"--out {str(out)!r} holds a README.md and neither an adapter nor a run that it could be of; "
            "give another folder"
        )


def _tell_what_is_left_out(corpus: Corpus) -> None:
    for site, reason in corpus.refused.items():
        click.echo(f"Site {site} is refused: {reason}", err=True)
    if corpus.num_too_long:
        click.echo(f"{corpus.num_too_long} rows exceed the token limit and are left out", err=True)


def _train(
    prepared: Prepared,
    run: RunSettings,
    options: Mapping[str, Any],
    start: float | None,
    should_stop: Callable[[], bool],
) -> Made:
    """The run, and the loss after it on the texts whose loss was `start` before."""
    federation, end = prepared.federation, None
    with _bar(prepared, run) as on_round:
        result = train(federation, run, validation=prepared.validation, on_round=on_round, should_stop=should_stop)
    if not result.was_interrupted:
        end = _loss(prepared, otherwise=f"the run diverged; {REMEDY}")
    losses = LossCourse(start=start, end=end, guess=math.log(federation.model.config.vocab_size))
    if losses.warning:
        click.secho(f"WARNING: {losses.warning}; {REMEDY}", err=True, fg="red")
    return Made(
        model=options["model"], start_from=options["start_from"], prepared=prepared, result=result, losses=losses
    )


def _loss(prepared: Prepared, *, otherwise: str) -> float:
    return loss_on(prepared.federation, sample_of(prepared.corpus.sites), otherwise=otherwise)


def _prepare(options: Mapping[str, Any], clock: _Clock | None) -> Prepared:
    if options["site_ranks"] and options["aggregation"] != "svd":
        raise SettingInvalid(f"--site-rank wants --aggregation svd; got {options['aggregation']}")
    settings = FederationSettings(
        task="causal_lm",
        scheme=scheme_named(options["scheme"], wire=options["wire"], precision=options["precision"]),
        cut_layer=_for_each(options, "--site-cut", "LAYERS", options["site_cuts"], options["cut_layer"]),
        ranks=numbers("--site-rank", "RANK", options["site_ranks"]),
        joins=numbers("--joins", "ROUND", options["joins"], by=":"),
        local_steps=options["local_steps"],
        num_rounds=options["rounds"],
        batch_size=_for_each(options, "--site-batch", "TEXTS", options["site_batches"], options["batch_size"]),
        optimiser=_optimiser(options),
        aggregation=options["aggregation"],
        is_u_shaped=options["u_shape"],
        deadline_seconds=options["deadline"],
        seed=options["seed"],
    )
    lora = LoraSettings(rank=options["rank"], alpha=options["alpha"], dropout=options["dropout"])
    prepared = prepare_causal_lm(
        options["model"],
        options["corpus"],
        settings,
        lora,
        max_tokens=options["max_tokens"],
        validation_share=options["validation_share"],
        device=options["device"],
        start_from=options["start_from"],
        faults=_faults(options),
        finish_seconds=None if clock is None else clock.finish_seconds(options["model"], settings, lora),
    )
    if clock is not None:
        clock.check_sites(prepared.corpus.sites)
    return prepared


def _faults(options: Mapping[str, Any]) -> list[Fault]:
    return [parse_fault(text) for text in options["faults"]]


def _optimiser(options: Mapping[str, Any]) -> OptimiserSettings:
    if options["schedule"] == "constant":
        # The length of a warm-up would depend on the number of rounds, which may grow.
        return OptimiserSettings(learning_rate=options["learning_rate"], schedule="constant", warmup_share=0.0)
    return OptimiserSettings(learning_rate=options["learning_rate"])


def _for_each(
    options: Mapping[str, Any], option: str, wanted: str, texts: Sequence[str], default: int
) -> int | dict[str, int]:
    """One number for all sites, or where some have their own, one by site."""
    own = numbers(option, wanted, texts)
    if not own:
        return default
    sites = [file.stem for file in sorted(options["corpus"].glob("*.jsonl"))]
    unknown = [site for site in own if site not in sites]
    if unknown:
        raise SettingInvalid(f"{option} {unknown[0]}={own[unknown[0]]}: no such site; sites: {', '.join(sites)}")
    return dict.fromkeys(sites, default) | own


@dataclass(frozen=True, kw_only=True, slots=True)
class _Clock:
    """What the virtual clock that the deadline is held against is made of."""

    devices: dict[str, Device]
    """By site."""
    server: Device
    channel: Channel
    num_tokens: int

    def check_sites(self, sites: Iterable[Site]) -> None:
        """Refuse a site without a device, however late it joins."""
        missing = [site.name for site in sites if site.name not in self.devices]
        if missing:
            raise SettingInvalid(
                f"--deadline wants a --site-device for site {missing[0]!r} too; given: {', '.join(self.devices)}"
            )

    def finish_seconds(
        self, model: str, settings: FederationSettings, lora: LoraSettings
    ) -> Callable[[int, Sequence[str]], Mapping[str, float]]:
        """When each site would finish a round."""
        return site_clock(
            model,
            self.devices,
            settings,
            lora,
            num_tokens=self.num_tokens,
            server=self.server,
            channel=self.channel,
        )


def _clock(options: Mapping[str, Any]) -> _Clock | None:
    """The virtual clock, or None without a deadline."""
    registry = read_registry(options["devices"])
    channel = registry.channel(options["link"], options["mbps"])
    if options["deadline"] is None:
        return None
    named = pairs("--site-device", "DEVICE", options["site_devices"])
    if not named:
        raise SettingInvalid(
            f"--deadline wants --site-device SITE=DEVICE for every site; devices: {', '.join(registry.devices)}"
        )
    return _Clock(
        devices={site: registry.device(name) for site, name in sorted(named.items())},
        server=registry.device(SERVER),
        channel=channel,
        num_tokens=options["max_tokens"] or _CLOCK_TOKENS,
    )


def _texts_digest(prepared: Prepared) -> str:
    """What tells one choice of texts from another, those learnt from and those held out."""
    sites = ((site.name, site.examples) for site in prepared.corpus.sites)
    return texts_digest([*sites, ("held out", prepared.validation)])


@contextmanager
def _bar(prepared: Prepared, run: RunSettings) -> Iterator[Callable[[RoundReport], None]]:
    columns = (TextColumn("round"), MofNCompleteColumn(), BarColumn(), TextColumn("loss {task.fields[loss]}"))
    num_rounds = prepared.federation.settings.num_rounds
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(str(run.folder), total=num_rounds, loss="-")

        def show(report: RoundReport) -> None:
            progress.update(task, completed=report.round + 1, loss=f"{report.loss:.4f}")
            for client, reason in report.dropped.items():
                progress.console.print(f"round {report.round}: client {client} dropped: {reason}", markup=False)

        yield show


def _report(made: Made, options: Mapping[str, Any]) -> None:
    prepared, result = made.prepared, made.result
    last = result.reports[-1] if result.reports else None
    evaluation = result.evaluations[-1][1] if result.evaluations else None
    summary = {
        "adapter": None if result.was_interrupted else str(options["out"]),
        "scheme": options["scheme"],
        "sites": [site.name for site in prepared.corpus.sites],
        "refused_sites": prepared.corpus.refused,
        "rows_too_long": prepared.corpus.num_too_long,
        "rounds": result.num_rounds,
        "interrupted": result.was_interrupted,
        "loss": None if last is None else last.loss,
        "loss_at_start": made.losses.start,
        "loss_at_end": made.losses.end,
        "has_diverged": made.losses.has_diverged,
        "is_guessing": made.losses.is_guessing,
        "validation_loss": None if evaluation is None else evaluation.loss,
        "validation_accuracy": None if evaluation is None else evaluation.accuracy,
        "uplink_bytes": sum(report.uplink_bytes for report in result.reports),
        "rounds_by_site": Counter(name for report in result.reports for name in report.participants),
        "downlink_bytes": sum(report.downlink_bytes for report in result.reports),
        "dropped": [
            {"round": report.round, "client": client, "reason": reason}
            for report in result.reports
            for client, reason in report.dropped.items()
        ],
        "trainable_parameters": sum(value.numel() for value in prepared.federation.state.values()),
        "seconds": round(result.seconds, 3),
    }
    if options["as_json"]:
        click.echo(json.dumps(summary))
        return
    click.echo(in_words(summary))

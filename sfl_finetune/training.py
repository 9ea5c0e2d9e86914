"""A run from its first round to its last: metrics, checkpoints, early stopping, resuming."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sfl_finetune.adapter_folder import adapter_digest
from sfl_finetune.checkpoint import (
    CHECKPOINTS,
    fingerprint,
    has_checkpoint,
    load_checkpoint,
    read_meta,
    save_checkpoint,
)
from sfl_finetune.divergence import check_finite
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.more_rounds import PLANNED, all_but_rounds, check_rounds
from sfl_finetune.whole import Evaluation, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sfl_finetune.corpus import Example
    from sfl_finetune.federation import Federation
    from sfl_finetune.round_report import RoundReport


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What a run keeps, and when it ends."""

    folder: Path
    """Receives metrics.jsonl, checkpoints and, where asked for, TensorBoard events."""
    checkpoint_every: int = 10
    """Rounds between two checkpoints; the last round is always kept."""
    evaluate_every: int = 0
    """Rounds between two evaluations; 0 means only at the end."""
    patience: int | None = None
    """Evaluations without a lower loss after which the run ends."""
    target_accuracy: float | None = None
    """Accuracy at which the run ends."""
    is_resumed: bool = False
    has_tensorboard: bool = False
    fingerprint: str = ""
    """What else must agree for a checkpoint to be this run's, such as the corpus."""

    def __post_init__(self) -> None:
        """Refuse intervals below one round."""
        if self.checkpoint_every < 1 or self.evaluate_every < 0:
            raise SettingInvalid(
                f"checkpoint_every={self.checkpoint_every}, evaluate_every={self.evaluate_every}; allowed: 1 and 0 up"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What came of a run."""

    num_rounds: int
    """Rounds done, those before a resume included."""
    was_interrupted: bool
    reports: tuple[RoundReport, ...]
    """Rounds done since the start or resume."""
    evaluations: tuple[tuple[int, Evaluation], ...]
    """Evaluations since the start or resume, each with the number of rounds before it."""
    seconds: float


@dataclass(kw_only=True, slots=True)
class _Progress:
    best_loss: float = float("inf")
    num_worse: int = 0
    seconds: float = 0.0
    accuracy: float = 0.0
    """At the last evaluation."""
    evaluations: list[tuple[int, Evaluation]] = field(default_factory=list)
    reports: list[RoundReport] = field(default_factory=list)

    def has_ended(self, run: RunSettings) -> bool:
        """Whether patience is at its end or the wanted accuracy reached."""
        is_stale = run.patience is not None and self.num_worse >= run.patience
        return is_stale or (run.target_accuracy is not None and self.accuracy >= run.target_accuracy)


def train(
    federation: Federation,
    run: RunSettings,
    *,
    validation: Sequence[Example] = (),
    on_round: Callable[[RoundReport], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Train to the last round, early stopping or `should_stop`; the global adapter is then in the unsplit model."""
    federation.publish()
    adapter = adapter_digest(federation.tuned.peft_config["default"])
    key = fingerprint(federation.model, f"{all_but_rounds(federation.settings)}{adapter}{run.fingerprint}")
    checkpoints = run.folder / CHECKPOINTS
    done, progress = _resume(federation, checkpoints, key) if run.is_resumed else (0, _Progress())
    run.folder.mkdir(parents=True, exist_ok=True)
    if should_stop() and not has_checkpoint(checkpoints):
        # Whoever stops a run before its first round has something to resume from as well.
        _checkpoint(federation, checkpoints, progress, done, key)
    with _Metrics(run, done) as metrics:
        while done < federation.settings.num_rounds and not progress.has_ended(run) and not should_stop():
            began = time.perf_counter()
            report = federation.run_round(done)
            check_finite(federation.state, done)
            done += 1
            progress.seconds += time.perf_counter() - began
            progress.reports.append(report)
            metrics.write({"event": "round", **asdict(report)})
            if on_round is not None:
                on_round(report)
            is_last = done == federation.settings.num_rounds
            is_due = run.evaluate_every > 0 and done % run.evaluate_every == 0
            if validation and (is_last or is_due):
                # One made only because the run ends would not be there in a longer run: it counts towards no end.
                _evaluate(federation, progress, validation, done, metrics, counts=is_due)
            if is_last or progress.has_ended(run) or done % run.checkpoint_every == 0 or should_stop():
                _checkpoint(federation, checkpoints, progress, done, key)
    federation.publish()
    return RunResult(
        num_rounds=done,
        was_interrupted=should_stop() and done < federation.settings.num_rounds and not progress.has_ended(run),
        reports=tuple(progress.reports),
        evaluations=tuple(progress.evaluations),
        seconds=progress.seconds,
    )


def _resume(federation: Federation, folder: Path, key: str) -> tuple[int, _Progress]:
    """Rounds done, and how the run stood then."""
    check_rounds(federation.settings, folder, read_meta(folder))
    done, state, extra = load_checkpoint(folder, optimisers=federation.optimisers(), run=key)
    federation.restore(state)
    best = float("inf") if extra["best_loss"] is None else extra["best_loss"]
    return done, _Progress(
        best_loss=best, num_worse=extra["num_worse"], seconds=extra["seconds"], accuracy=extra["accuracy"]
    )


def _checkpoint(federation: Federation, folder: Path, progress: _Progress, done: int, key: str) -> None:
    best = progress.best_loss
    save_checkpoint(
        folder,
        state=federation.state,
        optimisers=federation.optimisers(),
        round_=done,
        run=key,
        extra={
            "best_loss": None if best == float("inf") else best,
            "num_worse": progress.num_worse,
            "seconds": progress.seconds,
            "accuracy": progress.accuracy,
            PLANNED: federation.settings.num_rounds,
        },
    )


def _evaluate(
    federation: Federation,
    progress: _Progress,
    validation: Sequence[Example],
    done: int,
    metrics: _Metrics,
    *,
    counts: bool,
) -> None:
    """Evaluate the global adapter and, where it counts towards an early end, note how the run stands."""
    federation.publish()
    found = evaluate(federation.model, validation, federation.settings.task)
    progress.evaluations.append((done, found))
    metrics.write({"event": "evaluation", "round": done - 1, **asdict(found)})
    if not counts:
        return
    progress.num_worse = 0 if found.loss < progress.best_loss else progress.num_worse + 1
    progress.best_loss = min(progress.best_loss, found.loss)
    progress.accuracy = found.accuracy


class _Metrics:
    """Rounds and evaluations as JSONL, and as TensorBoard events where asked for."""

    def __init__(self, run: RunSettings, done: int) -> None:
        self._path = run.folder / "metrics.jsonl"
        self._folder = run.folder / "tensorboard" if run.has_tensorboard else None
        self._done = done
        self._is_begun = False
        self._writer: Any = None

    def __enter__(self) -> Self:
        # Rounds after the checkpoint are run again, so what an interrupted run noted of them is dropped.
        if self._done and self._path.exists():
            kept = [line for line in self._path.read_text().splitlines() if json.loads(line)["round"] < self._done]
            self._path.write_text("".join(f"{line}\n" for line in kept))
        if self._folder is not None:
            self._writer = _tensorboard(self._folder, self._done)
        return self

    def write(self, row: dict[str, Any]) -> None:
        # A fresh run replaces a former one's rows only once it has some of its own.
        with self._path.open("a" if self._done or self._is_begun else "w") as file:
            self._is_begun = True
            file.write(json.dumps(row) + "\n")
        if self._writer is not None:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "round":
                    self._writer.add_scalar(f"{row['event']}/{name}", value, row["round"])

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()


def check_tensorboard() -> None:
    """Raise SettingInvalid where TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise SettingInvalid(
            "TensorBoard is not installed; install the extra: pip install 'edgewright[tensorboard]'"
        ) from error


def _tensorboard(folder: Path, done: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done)

"""The case study's training: six sites, every scheme, even and uneven texts; each run resumes where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sfl_finetune.anatomy import anatomy
from sfl_finetune.checkpoint import CHECKPOINTS, has_checkpoint
from sfl_finetune.corpus import texts_digest
from sfl_finetune.encoder import load_classifier
from sfl_finetune.errors import TrainingFailed
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.labelled_texts import LabelledSplits, deal_by_dirichlet, deal_evenly, tokenise
from sfl_finetune.lora import LoraSettings
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import Precision, scheme_named
from sfl_finetune.training import RunSettings, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sfl_finetune.round_report import RoundReport
    from sfl_finetune.wire import Codec

Dealing = Literal["iid", "dirichlet"]

NUM_SITES = 6
_SETTINGS = "settings.json"
"""In a run's folder: what it was trained with and on, so that a report can't claim anything else."""
_TEXTS = "texts_sha256"
"""Name among those settings of the digest of texts and labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseStudySettings:
    """What is trained, and how long."""

    model: str
    """Folder of the encoder."""
    num_rounds: int
    local_steps: int = 4
    learning_rate: float
    batch_size: int = 16
    max_tokens: int = 128
    rank: int = 16
    cut_layers: tuple[int, ...] = (1, 1, 2, 2, 2, 3)
    """Layers at each client, the weakest device first."""
    precision: Precision = "fp32"
    concentration: float = 0.5
    """Of the Dirichlet distribution that deals the texts out unevenly; smaller is more uneven."""
    evaluate_every: int = 10
    seed: int = 0

    def lora(self) -> LoraSettings:
        """The adapter; the pooler is trained too, since a sentence encoder's was never used for classes."""
        return LoraSettings(rank=self.rank, head="all")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trajectory:
    """One run's course, as far as it came."""

    scheme: str
    dealing: Dealing
    num_rounds: int
    is_complete: bool
    accuracy: tuple[tuple[int, float], ...]
    """Rounds done and validation accuracy then."""
    macro_f1: tuple[tuple[int, float], ...]
    uplink_bytes: int
    downlink_bytes: int
    seconds: float | None
    """Wall-clock time of the rounds; None where only the metrics are left."""


def run_one(
    splits: LabelledSplits,
    settings: CaseStudySettings,
    scheme: str,
    dealing: Dealing,
    folder: Path,
    *,
    wire: Codec | None = None,
    until_accuracy: float | None = None,
    on_round: Callable[[RoundReport], None],
    should_stop: Callable[[], bool],
) -> Trajectory:
    """Train one scheme, from its last checkpoint where there is one, to the last round or `until_accuracy`."""
    federation, validation = make_federation(splits, settings, scheme, dealing, wire=wire)
    is_resumed = has_checkpoint(folder / CHECKPOINTS)
    if not is_resumed:  # Else these may not be the settings it was trained with: training looks before it goes on.
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SETTINGS).write_text(_written(settings, splits) + "\n")
    result = train(
        federation,
        RunSettings(
            folder=folder,
            checkpoint_every=settings.evaluate_every,
            evaluate_every=settings.evaluate_every,
            target_accuracy=until_accuracy,
            is_resumed=is_resumed,
            # With the number of rounds: the rates fall by it, so that a run of another length is another one.
            fingerprint=json.dumps(asdict(settings)) + dealing + digest_of(splits),
        ),
        validation=validation,
        on_round=on_round,
        should_stop=should_stop,
    )
    is_complete = result.num_rounds == settings.num_rounds
    return trajectory(scheme, dealing, folder, is_complete=is_complete, seconds=result.seconds)


def make_federation(
    splits: LabelledSplits, settings: CaseStudySettings, scheme: str, dealing: Dealing, *, wire: Codec | None = None
) -> tuple[Federation, tuple[Any, ...]]:
    """The parties of one run, and the texts they are tested on; `wire` takes the place of the scheme's own format."""
    model, tokenizer = load_classifier(settings.model, num_labels=len(splits.labels), seed=settings.seed)
    train_rows, validation = (
        tokenise(rows, splits.labels, tokenizer, max_tokens=settings.max_tokens)
        for rows in (splits.train, splits.validation)
    )
    rng = np.random.default_rng([settings.seed, 1])
    sites = (
        deal_evenly(train_rows, NUM_SITES, rng)
        if dealing == "iid"
        else deal_by_dirichlet(train_rows, NUM_SITES, rng, concentration=settings.concentration)
    )
    lora = settings.lora().config("classification", model, anatomy(model))
    federation = Federation(
        model,
        lora,
        sites,
        FederationSettings(
            task="classification",
            scheme=scheme_named(scheme, wire=wire, precision=settings.precision),
            cut_layer={site.name: cut for site, cut in zip(sites, settings.cut_layers, strict=True)},
            local_steps=settings.local_steps,
            num_rounds=settings.num_rounds,
            batch_size=settings.batch_size,
            optimiser=OptimiserSettings(learning_rate=settings.learning_rate),
            seed=settings.seed,
        ),
    )
    return federation, validation


def former_run(
    splits: LabelledSplits, settings: CaseStudySettings, scheme: str, dealing: Dealing, folder: Path
) -> Trajectory | None:
    """What an earlier run in `folder` came to, without training on; None where there was none.

    Raises TrainingFailed for a run of other settings or texts: its figures would stand beside what it never had.
    """
    if not has_checkpoint(folder / CHECKPOINTS):
        return None
    known = _known(folder)
    wanted: dict[str, Any] = json.loads(_written(settings, splits))
    if known.pop(_TEXTS, None) != wanted.pop(_TEXTS):
        raise TrainingFailed(
            f"{folder} holds a run on other texts or labels, or of an older version; give its --data, or another --out"
        )
    if known != wanted:
        raise TrainingFailed(
            f"{folder} holds a run of other settings {json.dumps(known, indent=2)}; "
            "give its --rounds and --learning-rate, or another --out"
        )
    found = trajectory(scheme, dealing, folder, is_complete=False, seconds=None)
    return replace(found, is_complete=found.num_rounds == settings.num_rounds)


def digest_of(splits: LabelledSplits) -> str:
    """What tells one choice of labelled texts from another."""
    return texts_digest([("train", splits.train), ("validation", splits.validation), ("labels", splits.labels)])


def _written(settings: CaseStudySettings, splits: LabelledSplits) -> str:
    return json.dumps(asdict(settings) | {_TEXTS: digest_of(splits)}, indent=2)


def _known(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was made with; empty where it doesn't say."""
    try:
        known = json.loads((folder / _SETTINGS).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def trajectory(scheme: str, dealing: Dealing, folder: Path, *, is_complete: bool, seconds: float | None) -> Trajectory:
    """What a run's metrics say."""
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    rows: list[Mapping[str, Any]] = [json.loads(line) for line in lines]
    rounds = [row for row in rows if row["event"] == "round"]
    evaluations = [row for row in rows if row["event"] == "evaluation"]
    return Trajectory(
        scheme=scheme,
        dealing=dealing,
        num_rounds=len(rounds),
        is_complete=is_complete,
        accuracy=tuple((row["round"] + 1, row["accuracy"]) for row in evaluations),
        macro_f1=tuple((row["round"] + 1, row["macro_f1"]) for row in evaluations),
        uplink_bytes=sum(row["uplink_bytes"] for row in rounds),
        downlink_bytes=sum(row["downlink_bytes"] for row in rounds),
        seconds=seconds,
    )

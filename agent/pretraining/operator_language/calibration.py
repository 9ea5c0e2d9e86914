"""How sure the operator model must be before it may change something, found on phrasings of a third hand.

The validation phrasings are in a style apart from the training's and share nothing with the frozen test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.models.operator_language import CHANGING, Call
from agent.models.operator_model import CALIBRATION, OperatorModel, Reading
from agent.models.tiny_llama import load_tiny_llama
from agent.pretraining.operator_language.held_out import Case
from agent.pretraining.operator_language.networks import random_network
from agent.pretraining.operator_language.phrasebook import FOLDER, Focus, Phrasing, fill, read_phrasings

_MOST_WRONG = 0.005
"""Share of requests that may be read as a change nobody asked for: half of what is promised of the frozen test."""
_FILLINGS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A validation case and what the model made of it."""

    case: Case
    reading: Reading

    @property
    def is_right(self) -> bool:
        return self.reading.calls == self.case.calls

    @property
    def is_wrong_change(self) -> bool:
        return bool(changes(self.reading.calls) - changes(self.case.calls))


def ask_back_until_calibrated(folder: Path) -> None:
    """Let the weights that are about to be written there ask back at changes, lest they be used before `calibrate`."""
    _write(folder, 1.0)


def calibrate(folder: Path, *, seed: int) -> dict[str, float]:
    """Write the least confidence beside the weights; figures of the validation phrasings with it."""
    trials = try_validation(_never_asking_back(folder), seed=seed)
    least = least_confidence(trials)
    _write(folder, least)
    kept = [trial for trial in trials if trial.reading.confidence >= least or not changes(trial.reading.calls)]
    return {
        "num_requests": len(trials),
        "right": round(sum(trial.is_right for trial in kept) / len(trials), 4),
        "wrong_change": round(sum(trial.is_wrong_change for trial in kept) / len(trials), 4),
        "wrong_change_if_never_asking_back": round(float(np.mean([trial.is_wrong_change for trial in trials])), 4),
        "least_confidence": least,
    }


def least_confidence(trials: Sequence[Trial]) -> float:
    """The lowest threshold at which few enough wrong changes are left, in hundredths of the odds' logarithm."""
    allowed = int(_MOST_WRONG * len(trials))
    wrong = sorted((trial.reading.confidence for trial in trials if trial.is_wrong_change), reverse=True)
    worst = wrong[allowed] if len(wrong) > allowed else 0.0
    return float(min(np.ceil(worst * 1e4 + 1.0) / 1e4, 1.0)) if worst > 0 else 0.5


def try_validation(model: OperatorModel, *, seed: int) -> tuple[Trial, ...]:
    """Every validation phrasing in a few networks."""
    return tuple(
        Trial(
            case=case,
            reading=model.read(
                case.text,
                cells=case.cells,
                slices=case.slices,
                cell=case.focus.cell,
                slice_number=case.focus.slice,
                plan=case.focus.version,
            ),
        )
        for case in validation_cases(seed=seed)
    )


def validation_cases(*, seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
    for phrasing in read_phrasings(FOLDER / "validation.txt"):
        for _ in range(_FILLINGS if "<" in phrasing.text else 1):
            yield _case(phrasing, rng)


def changes(calls: Sequence[Call]) -> frozenset[Call]:
    """Those of the calls that change something."""
    return frozenset(each for each in calls if each.tool in CHANGING)


def _case(phrasing: Phrasing, rng: np.random.Generator) -> Case:
    network = random_network(rng)
    while len(network.slices) < 3:
        network = random_network(rng)
    focus = Focus(cell=int(rng.choice(network.cells)), slice=int(rng.integers(1, len(network.slices) + 1)), version=4)
    if phrasing.family == "ask":
        focus = Focus()
    said = fill(phrasing, network, focus, rng)
    return Case(
        text=said.text,
        slices=network.slices,
        cells=network.cells,
        focus=focus,
        family=phrasing.family,
        calls=said.calls,
    )


def _never_asking_back(folder: Path) -> OperatorModel:
    """The weights under no least confidence, whatever the folder's calibration says."""
    from tokenizers import Tokenizer

    model = load_tiny_llama(folder)
    return OperatorModel(model, Tokenizer.from_file(str(folder / "tokenizer.json")), least_confidence=0.0)


def _write(folder: Path, least: float) -> None:
    (folder / CALIBRATION).write_text(json.dumps({"least_confidence": least}) + "\n", encoding="utf-8")

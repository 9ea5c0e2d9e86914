"""The operator's training: a resumed run meets the same rows, and weights are not trusted before their calibration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from agent.errors import ModelUnavailable
from agent.models.operator_model import CALIBRATION
from agent.pretraining.operator_language.calibration import ask_back_until_calibrated, calibrate
from agent.pretraining.operator_language.recipe import train_operator_model
from agent.pretraining.training import Progress


class Interrupted(Exception):
    """Stands for a power cut."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The training sets the number of threads for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def losses_until_cut(out: Path) -> list[float]:
    """Losses of the first two steps on phrasings, cut off before the first checkpoint."""
    losses: list[float] = []

    def on_step(progress: Progress) -> None:
        losses.append(progress.loss)
        if progress.step == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train_operator_model(out / "weights", work=out / "work", seed=5, num_steps=4, batch_size=4, on_step=on_step)
    return losses


def test_a_resumed_run_meets_the_rows_that_it_began_with(tmp_path: Path) -> None:
    first = losses_until_cut(tmp_path)

    assert losses_until_cut(tmp_path) == first


def test_weights_ask_back_from_the_moment_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(Exception, match="directory"):
        train_operator_model(tmp_path, work=tmp_path / "work", seed=5, num_steps=2, batch_size=4)

    assert json.loads((tmp_path / CALIBRATION).read_text()) == {"least_confidence": 1.0}


def test_a_calibration_that_breaks_off_leaves_weights_that_ask_back(tmp_path: Path) -> None:
    ask_back_until_calibrated(tmp_path)
    with pytest.raises(ModelUnavailable):
        calibrate(tmp_path, seed=5)

    assert json.loads((tmp_path / CALIBRATION).read_text()) == {"least_confidence": 1.0}

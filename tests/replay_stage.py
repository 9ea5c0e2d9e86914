"""Recordings, a tiny model and the command itself, for the tests of replay."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from agent.command_line import main
from agent.pretraining.examples import random_example
from agent.pretraining.new_model import ModelSize, new_model
from agent.pretraining.tokenizer import save_tokenizer, train_tokenizer

RECORDINGS = Path(__file__).resolve().parent / "replay" / "recordings"
SCOPE, EXPLORA, OWN = RECORDINGS / "scope_multi4", RECORDINGS / "explora", RECORDINGS / "own.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def run_replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Ended:
    """`edgewright replay …` in this process, through the script's own entry."""
    monkeypatch.setattr(sys, "argv", ["edgewright", "replay", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return Ended(status=int(ended.value.code or 0), out=captured.out, err=captured.err)


@cache
def _tiny_model_home() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="tiny-model-")


@cache
def tiny_model_folder(seed: int = 0) -> Path:
    """A model folder with random weights, as transformers loads it; kept until the process ends."""
    rng = np.random.default_rng(3)
    examples = [random_example(rng) for _ in range(20)]
    tokenizer = train_tokenizer(one.prompt + one.completion for one in examples)
    folder = Path(_tiny_model_home().name) / f"tiny-{seed}"
    model = new_model(tokenizer, ModelSize(hidden_size=32, num_layers=1, num_heads=2), seed=seed)
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder

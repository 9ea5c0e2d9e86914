"""The frozen test of the operator's language: written before any training, sharing no phrasing with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.models.operator_language import Call, read_calls, write_calls
from agent.pretraining.operator_language.networks import random_network
from agent.pretraining.operator_language.phrasebook import FOLDER, Focus, fill, read_phrasings

TEST_FILE = Path(__file__).parent / "held_out.jsonl"
TEST_SHA256 = "334b6c2f0b18cb495162bac1454fb997008ae2c25080c94c0cbb02f64a1155bf"
_SEED = 90_210
_PER_PHRASING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request in its network, and the calls that it stands for."""

    text: str
    slices: tuple[str, ...]
    cells: tuple[int, ...]
    focus: Focus
    family: str
    calls: tuple[Call, ...]


def read_held_out() -> tuple[Case, ...]:
    """The frozen cases."""
    return tuple(_case(json.loads(line)) for line in TEST_FILE.read_text(encoding="utf-8").splitlines())


def held_out_hash() -> str:
    return hashlib.sha256(TEST_FILE.read_bytes()).hexdigest()


def freeze() -> str:
    """Write the cases from the held-out phrasings, each filled twice; returns the file's hash."""
    rng = np.random.default_rng(_SEED)
    rows = []
    for phrasing in read_phrasings(FOLDER / "held_out.txt"):
        is_fixed = "<" not in phrasing.text
        for _ in range(1 if is_fixed else _PER_PHRASING + 2):
            network = random_network(rng)
            focus = Focus(
                cell=int(rng.choice(network.cells)), slice=int(rng.integers(1, len(network.slices) + 1)), version=4
            )
            if phrasing.family == "ask":
                focus = Focus()
            said = fill(phrasing, network, focus, rng)
            rows.append(
                {
                    "text": said.text,
                    "slices": network.slices,
                    "cells": network.cells,
                    "focus": [focus.cell, focus.slice, focus.version],
                    "family": phrasing.family,
                    "calls": write_calls(said.calls),
                }
            )
    TEST_FILE.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return held_out_hash()


def _case(row: dict[str, Any]) -> Case:
    cell, slice_number, version = row["focus"]
    return Case(
        text=row["text"],
        slices=tuple(row["slices"]),
        cells=tuple(row["cells"]),
        focus=Focus(cell=cell, slice=slice_number, version=version),
        family=row["family"],
        calls=read_calls(row["calls"]),
    )

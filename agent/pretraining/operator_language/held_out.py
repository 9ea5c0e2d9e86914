"""The frozen test of the operator's language: written before any training, sharing no phrasing with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.models.operator_language import Call, read_calls
from agent.pretraining.operator_language.phrasebook import Focus

TEST_FILE = Path(__file__).parent / "held_out.jsonl"
TEST_SHA256 = "334b6c2f0b18cb495162bac1454fb997008ae2c25080c94c0cbb02f64a1155bf"


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

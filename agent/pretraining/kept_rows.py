"""Encoded rows kept in a work folder, so that a resumed training meets the very rows that it began with.

Shapes: R rows, T tokens of all rows together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

Rows = Sequence[tuple[tuple[int, ...], int]]
"""Token ids and the prompt's length of each example."""


def kept_rows(path: Path, encode: Callable[[], Rows]) -> Rows:
    """The rows that `path` holds; where it is absent those of `encode`, written there first."""
    if path.exists():
        return _read(path)
    rows = encode()
    _write(rows, path)
    return rows


def _write(rows: Rows, path: Path) -> None:
    """The file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "tokens_T": np.array([token for ids, _ in rows for token in ids], dtype=np.int32),
        "length_R": np.array([len(ids) for ids, _ in rows], dtype=np.int32),
        "prompt_length_R": np.array([prompt_length for _, prompt_length in rows], dtype=np.int32),
    }
    partial = path.with_suffix(path.suffix + ".part")
    save_file(tensors, partial)
    partial.replace(path)


def _read(path: Path) -> Rows:
    tensors = load_file(path)
    tokens = tensors["tokens_T"].tolist()
    ends = [0, *tensors["length_R"].cumsum().tolist()]
    return tuple(
        (tuple(tokens[start:end]), prompt_length)
        for (start, end), prompt_length in zip(pairwise(ends), tensors["prompt_length_R"].tolist(), strict=True)
    )

"""The edge's state on disk: one file, versioned, checked, replaced as a whole."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess.errors import StateUnreadable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_MAGIC = b"edgewright-edge-state 2\n"


def save_state(path: Path, state: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the state beside the old one, then take its place: a crash leaves one or the other, whole."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(state))
    body = buffer.getvalue()
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load_state(path: Path) -> dict[str, NDArray[np.generic]] | None:
    """The saved state, None where there is none; raises StateUnreadable for one that is damaged or too old."""
    if not path.exists():
        return None
    raw = path.read_bytes()
    if not raw.startswith(_MAGIC):
        raise StateUnreadable(f"{path}: begins with {raw[:24]!r}, {_MAGIC!r} needed")
    digest, body = raw[len(_MAGIC) : len(_MAGIC) + 32], raw[len(_MAGIC) + 32 :]
    if hashlib.sha256(body).digest() != digest:
        raise StateUnreadable(f"{path}: checksum does not match its {len(body)} bytes; the file is damaged")
    with np.load(io.BytesIO(body), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}

"""A mark that tells one model's weights from another's, whatever their folders are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def weights_mark(*folders: str | Path | None) -> str:
    """SHA-256 over names and safetensors of the folders; a name without files stands for itself, None for nothing."""
    mark = hashlib.sha256(repr([str(folder) for folder in folders]).encode())
    for path in _tensor_files(folders):
        mark.update(path.read_bytes())
    return mark.hexdigest()


def _tensor_files(folders: Iterable[str | Path | None]) -> Iterable[Path]:
    return (path for folder in folders if folder is not None for path in sorted(Path(folder).glob("*.safetensors")))

"""An edge node that lives through all of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_preprocess.edge_node import EdgeNode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def uninterrupted(folder: Path, lines: Sequence[bytes]) -> bytes:
    """The digests that it writes."""
    out = folder / "whole.jsonl"
    node = EdgeNode(folder / "whole", out)
    for line in lines:
        node.accept(line)
    node.finish()
    node.stop()
    return out.read_bytes()

"""A command's files must differ, or one would destroy another."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from edge_preprocess.errors import SourceUnreadable
from telemetry_sim.same_file import is_same_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def check_distinct(files: Mapping[str, Path | None]) -> None:
    """Raise SourceUnreadable where two of the files, by option, are one; None stands for an option not given."""
    given = [(option, path) for option, path in files.items() if path is not None]
    for (first, one), (second, other) in combinations(given, 2):
        if is_same_file(one, other):
            raise SourceUnreadable(
                f"{second} {str(other)!r}: is the same file as {first} {str(one)!r}; another one is needed"
            )

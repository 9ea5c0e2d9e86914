"""Whether what is to be written would replace what is being read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name one file, by whatever link; standard streams, devices and pipes are no files here."""
    if "-" in {str(one), str(other)}:
        return False
    try:
        if one.exists() and other.exists():
            return one.is_file() and one.samefile(other)
        return one.resolve() == other.resolve()
    except OSError:
        # Whoever opens such a path says what is wrong with it.
        return False

"""Lines that came in since the last saved state, kept so that a restart finds them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_MAX_BYTES = 1 << 30
"""Twice what is held in memory of an interval, since numbers take more room as text."""


class Journal:
    """A file whose first line is its generation; each saved state begins a new one.

    A stream whose time stands still ends no interval, so no state is saved: the file must not grow for ever.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.generation = 0
        self.lines: list[bytes] = []
        """What was found on opening; a last line without its end was being written when the process died."""
        if path.exists():
            head, *self.lines = path.read_bytes().split(b"\n")[:-1] or [b"0"]
            self.generation = int(head) if head.isdigit() else 0
        self.num_lines = len(self.lines)
        self._num_bytes = 0
        self._file = self._fresh(self.lines)

    @property
    def is_full(self) -> bool:
        """Whether only a line that begins a new journal should still be kept."""
        return self._num_bytes >= _MAX_BYTES

    def append(self, line: bytes) -> None:
        """Keep a line before anything is made of it."""
        self._num_bytes += self._file.write(line.rstrip(b"\r\n") + b"\n")
        self._file.flush()
        self.num_lines += 1

    def begin(self, generation: int, lines: Sequence[bytes]) -> None:
        """Start anew with lines that are in no saved state yet."""
        self._file.close()
        self.generation = generation
        self.num_lines = len(lines)
        self._file = self._fresh(lines)

    def close(self) -> None:
        self._file.close()

    def _fresh(self, lines: Sequence[bytes]) -> BinaryIO:
        fresh = self._path.with_suffix(".fresh")
        head = b"%d\n" % self.generation
        self._num_bytes = fresh.write_bytes(head + b"".join(line.rstrip(b"\r\n") + b"\n" for line in lines))
        fresh.replace(self._path)
        return self._path.open("ab")

"""The file that an edge node's digests go to: cut and added to only where it is known to be the node's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge_preprocess.digest import EdgeDigest
from edge_preprocess.errors import SourceUnreadable, StateUnreadable
from edge_preprocess.file_marks import mark_before

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any


class DigestFile:
    """Digests as JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._address = str(path.resolve())

    @property
    def num_bytes(self) -> int:
        """0 where there is no file."""
        try:
            return self._path.stat().st_size if self._path.exists() else 0
        except OSError as error:
            raise self._unwritable(error) from error

    def claim(self, begun: Path) -> None:
        """Begin with nothing; `begun` keeps whose file this is until a state does.

        Raises SourceUnreadable for a file that holds something which no node with this `begun` wrote, or that can't be
        written.
        """
        is_own = begun.exists() and begun.read_bytes() == os.fsencode(self._address)
        if self.num_bytes and not is_own:
            raise SourceUnreadable(f"{self._path}: already holds something that no state in {begun.parent} knows of")
        begun.write_bytes(os.fsencode(self._address))
        self._cut(0)

    def resume(self, known: Mapping[str, Any]) -> None:
        """Cut off what came after `known` was told; raises SourceUnreadable for a file that is not the one it tells of.

        Another file is begun with where it holds nothing.
        """
        is_moved = known.get("out", self._address) != self._address
        end = int(known["out_bytes"])
        if not self.num_bytes and (is_moved or not self._path.exists()):
            end = 0
        elif self.num_bytes < end and not is_moved:
            raise StateUnreadable(f"{self._path}: is shorter than the {end} bytes that the state knows of")
        elif not self._is_as_told(known, end):
            raise SourceUnreadable(
                f"{self._path}: does not hold the digests that the state knows of, which were written to "
                f"{known.get('out')}; another --out or another --state folder is needed"
            )
        self._cut(end)

    def add(self, digests: Sequence[EdgeDigest]) -> dict[str, Any]:
        """Write digests to the disk; what `resume` needs to know of the file then."""
        try:
            with self._path.open("ab+") as file:
                file.writelines(digest.model_dump_json().encode() + b"\n" for digest in digests)
                file.flush()
                os.fsync(file.fileno())
                end = file.tell()
                return {"out": self._address, "out_bytes": end, "out_mark": mark_before(file.fileno(), end)}
        except OSError as error:
            raise self._unwritable(error) from error

    def digests_from(self, offset: int) -> Iterator[EdgeDigest]:
        """The digests that begin at a place in bytes or after it."""
        with self._path.open("rb") as file:
            file.seek(min(offset, self.num_bytes))
            for line in file:
                yield EdgeDigest.model_validate_json(line)

    def _is_as_told(self, known: Mapping[str, Any], end: int) -> bool:
        """Whether it holds the digests that were told of; a state of an older version can't say."""
        if self.num_bytes < end:
            return False
        with self._path.open("rb") as file:
            return known.get("out_mark") in {None, mark_before(file.fileno(), end)}

    def _cut(self, num_bytes: int) -> None:
        try:
            with self._path.open("ab") as file:
                file.truncate(num_bytes)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SourceUnreadable:
        return SourceUnreadable(f"--out {str(self._path)!r}: {error.strerror}; a writable file was expected")

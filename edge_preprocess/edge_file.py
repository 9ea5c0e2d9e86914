"""A file of telemetry lines, read on from where an edge node was."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from edge_preprocess.errors import SourceUnreadable
from edge_preprocess.file_marks import mark_before
from edge_preprocess.wire import MAX_LINE_BYTES, Unreadable, parse_line

if TYPE_CHECKING:
    from typing import BinaryIO

    from edge_preprocess.edge_node import EdgeNode

CUT_OFF = "line_cut_off"
"""A last line without an end, which can't be read."""


class EdgeFile:
    """What a node reads of a file that may have grown since it read it last."""

    def __init__(self, node: EdgeNode, file: BinaryIO) -> None:
        """Raises SourceUnreadable where the file is not the one that the node has read a part of."""
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes < node.position:
            raise SourceUnreadable(
                f"{file.name!r}: holds {num_bytes} bytes, but {node.position} have been read: it was cut or replaced; "
                f"a new --state folder is needed"
            )
        node.read_from(partial(mark_before, file.fileno()))
        self._node = node
        self._file = file
        self._offset = node.position
        self._rest = b""
        """A last line without its end, which may still be being written."""

    def read(self) -> None:
        """Give the node the lines that have an end."""
        self._file.seek(self._offset)
        while raw := self._file.readline(MAX_LINE_BYTES + 1):
            if not raw.endswith(b"\n") and len(raw) <= MAX_LINE_BYTES:
                self._rest = raw
                return
            if raw.strip():
                self._node.accept(raw, offset=self._offset)
            self._offset += len(raw)

    def finish(self) -> None:
        """Nothing will be added: take a last line without an end too where it can be read, and end the interval."""
        is_whole = not isinstance(parse_line(self._rest), Unreadable)
        if is_whole:
            self._node.accept(self._rest, offset=self._offset)
            self._offset += len(self._rest)
        self._node.finish(offset=self._offset)
        if self._rest.strip() and not is_whole:
            self._node.leave(CUT_OFF)

"""Short marks by which lines and files are known again."""

from __future__ import annotations

import hashlib
import os

_TAIL_BYTES = 4096
_HEAD_BYTES = 65_536


def mark(line: bytes) -> str:
    """A line's mark, whatever ends it."""
    return hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()[:16]


def mark_before(descriptor: int, offset: int) -> str:
    """A mark of an open file's first line and of what lies before an offset in bytes; other files have other marks.

    What is written behind the offset later does not change it.
    """
    head = os.pread(descriptor, min(_HEAD_BYTES, offset), 0).split(b"\n", 1)[0]
    begin = max(0, offset - _TAIL_BYTES)
    tail = os.pread(descriptor, offset - begin, begin)
    return hashlib.sha256(b"%d\n%b\n%b" % (offset, head, tail)).hexdigest()[:16]

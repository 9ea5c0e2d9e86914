"""Log bytes in, clean lines out; what can't be read is quarantined with its reason.

received = accepted + quarantined, always. Memory is bounded whatever the length of a line.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE_BYTES = 16_384
"""Longer lines are quarantined without being held in memory."""

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_HALVES = re.compile("[\ud800-\udfff]")
"""Surrogates: characters that are no text and can't be written as UTF-8."""


class QuarantineReason(StrEnum):
    """Why a line was not read."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    INVALID_UTF8 = "invalid_utf8"
    NUL_BYTE = "nul_byte"
    TERMINAL_ESCAPE = "terminal_escape"
    """Beyond colours, which are taken off."""
    CONTROL_CHARACTER = "control_character"
    INVISIBLE_TEXT = "invisible_text"
    """Bidirectional, zero-width or tag characters."""


def clean_line(raw: bytes | str) -> str | QuarantineReason:
    """The line as text without its end, colours and byte order mark, or why it can't be had."""
    if len(raw) > MAX_LINE_BYTES:
        return QuarantineReason.TOO_LONG
    if isinstance(raw, bytes):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            return QuarantineReason.INVALID_UTF8
    else:
        line = raw
    line = line.rstrip("\r\n")
    if not line.isascii() or not line.isprintable():
        return _clean_unusual(line)
    return line if line.strip() else QuarantineReason.EMPTY


def _clean_unusual(line: str) -> str | QuarantineReason:
    line = _COLOURS.sub("", line.removeprefix("\ufeff"))
    reason: QuarantineReason | None = None
    if "\x00" in line:
        reason = QuarantineReason.NUL_BYTE
    elif "\x1b" in line or "\x9b" in line:
        reason = QuarantineReason.TERMINAL_ESCAPE
    elif _CONTROLS.search(line):
        reason = QuarantineReason.CONTROL_CHARACTER
    elif _INVISIBLE.search(line):
        reason = QuarantineReason.INVISIBLE_TEXT
    elif _HALVES.search(line):
        reason = QuarantineReason.INVALID_UTF8
    elif not line.strip():
        reason = QuarantineReason.EMPTY
    return line if reason is None else reason


class LineSplitter:
    """Lines out of a stream of byte chunks, holding no more than one line of bounded length."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_skipping = False
        """The start of the present line was already too long and has been given up."""

    def feed(self, chunk: bytes) -> Iterator[bytes | QuarantineReason]:
        """The lines that this chunk completes, without their ends, in order."""
        pieces = (self._rest + chunk).split(b"\n")
        self._rest = pieces.pop()
        for piece in pieces:
            yield self._completed(piece)
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._is_skipping = b"", True

    def finish(self) -> Iterator[bytes | QuarantineReason]:
        """The last line, where the stream did not end with a line end."""
        if self._rest or self._is_skipping:
            rest, self._rest = self._rest, b""
            yield self._completed(rest)

    def _completed(self, piece: bytes) -> bytes | QuarantineReason:
        if self._is_skipping or len(piece) > MAX_LINE_BYTES:
            self._is_skipping = False
            return QuarantineReason.TOO_LONG
        return piece

"""Log bytes in, clean lines out; what can't be read is quarantined with its reason.

received = accepted + quarantined, always. Memory is bounded whatever the length of a line.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

MAX_LINE_BYTES = 16_384
"""Longer lines are quarantined without being held in memory."""

# Sequences that steer a terminal, whole. Source: ECMA-48, 5.3 to 5.6.
_ESCAPES = re.compile(
    r"\x1b[\]P_^X][^\x07\x1b\x9c]*(?:\x07|\x9c|\x1b\\)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?"
)
_CONTROLS = re.compile(r"[\x01-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]")
_HALVES = re.compile("[\ud800-\udfff]")
"""Surrogates: characters that are no text and can't be written as UTF-8."""


class QuarantineReason(StrEnum):
    """Why a line was not read."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    INVALID_UTF8 = "invalid_utf8"
    NUL_BYTE = "nul_byte"


class Cleaning(StrEnum):
    """What was taken off a line that was read."""

    TERMINAL_ESCAPE = "terminal_escape"
    CONTROL_CHARACTER = "control_character"
    INVISIBLE_TEXT = "invisible_text"
    """Bidirectional, zero-width and tag characters."""
    MORE_LINES = "more_lines"
    """What stood after a line end inside a single record."""


_CLEANINGS = (
    (Cleaning.TERMINAL_ESCAPE, _ESCAPES),
    (Cleaning.CONTROL_CHARACTER, _CONTROLS),
    (Cleaning.INVISIBLE_TEXT, _INVISIBLE),
)


def clean_line(raw: bytes | str, cleanings: Counter[Cleaning] | None = None) -> str | QuarantineReason:
    """The line as plain text, or why it can't be had; `cleanings` counts what was taken off.

    What only changes how a line looks is no reason to lose the event that it reports.
    """
    if len(raw) > MAX_LINE_BYTES:
        return QuarantineReason.TOO_LONG
    if isinstance(raw, bytes):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            return QuarantineReason.INVALID_UTF8
    else:
        line = _first_line(raw, cleanings)
    line = line.rstrip("\r\n")
    if not line.isascii() or not line.isprintable():
        return _clean_unusual(line, cleanings)
    return line if line.strip() else QuarantineReason.EMPTY


def _first_line(record: str, cleanings: Counter[Cleaning] | None) -> str:
    """What a record says up to its first line end.

    Transports that carry records carry one line in each. Equipment that prints a name with a line end in it would
    otherwise let whoever chose that name write whole lines in its place.
    """
    if record.isprintable():
        return record
    first, *others = record.rstrip("\r\n").splitlines() or [""]
    if others and cleanings is not None:
        cleanings[Cleaning.MORE_LINES] += 1
    return first


def _clean_unusual(line: str, cleanings: Counter[Cleaning] | None) -> str | QuarantineReason:
    if _HALVES.search(line):
        return QuarantineReason.INVALID_UTF8
    if "\x00" in line:
        return QuarantineReason.NUL_BYTE
    line = line.removeprefix("\ufeff")
    for cleaning, pattern in _CLEANINGS:
        line, count = pattern.subn("", line)
        if count and cleanings is not None:
            cleanings[cleaning] += 1
    return line if line.strip() else QuarantineReason.EMPTY


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

"""Line shapes: what lines that differ in their digits alone have in common, as a key to what is known of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edge_preprocess.log_masking import Masked
    from edge_preprocess.log_match import LogTemplate
    from telemetry_sim.records import Severity

Codes = tuple[tuple[int, str], ...]
"""Runs of digits that belong to constant words, which a shape does not show: index from the end, and digits."""

_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_HEX = re.compile(rb"0x[0-9a-fA-F]+")
_RUN = re.compile(r"0x[0-9a-fA-F]+|\d+", re.ASCII)


class KnownShape(NamedTuple):
    """What is remembered for lines that differ in their digits alone."""

    template: LogTemplate
    codes: Codes
    severity: Severity | None
    """What the level says."""


def shape_of(text: str) -> bytes:
    """The text with every run of digits as one zero and every hexadecimal number as one."""
    shape = text.encode("utf-8", "surrogatepass").translate(_DIGITS_TO_ZERO)
    shape = shape.replace(b"0000", b"0").replace(b"000", b"0").replace(b"00", b"0").replace(b"00", b"0")
    return _HEX.sub(b"0x0", shape) if b"0x" in shape else shape


def codes_of(content: str, masked: Masked) -> Codes:
    """The runs of digits in constant words, counted from the end, where a line and its content agree."""
    runs = list(_RUN.finditer(content))
    covered = {position for start, end in masked.codes for position in range(start, end)}
    return tuple((index - len(runs), run.group()) for index, run in enumerate(runs) if run.start() in covered)


def has_codes(text: str, codes: Codes) -> bool:
    runs = _RUN.findall(text)
    return len(runs) >= -codes[0][0] and all(runs[index] == digits for index, digits in codes)

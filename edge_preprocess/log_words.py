"""A line's words as patterns of words expect them."""

from __future__ import annotations

import re

_JOINTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-:=.,;()\[\]\"'<>*]+|\s+")


def plain_words(text: str) -> str:
    """Lower-case words with single blanks, out of joined and camel-case ones."""
    return " ".join(_JOINTS.sub(" ", text).lower().split())

"""A file's bytes that are not what was expected, as an error tells them."""

from __future__ import annotations

from unicodedata import category

_MOST_SHOWN = 120


def told_bytes(given: bytes) -> str:
    """The beginning of their text in quotes, or how many there are where they are no text."""
    if not given:
        return "an empty file"
    try:
        text = given.decode("utf-8").strip()
    except UnicodeDecodeError:
        return _counted(given)
    if not text:
        return "nothing but blanks"
    if any(category(letter) == "Cc" and not letter.isspace() for letter in text):
        return _counted(given)
    return f"{text[:_MOST_SHOWN]!r}"


def _counted(given: bytes) -> str:
    return "1 byte that is no text" if len(given) == 1 else f"{len(given)} bytes that are no text"

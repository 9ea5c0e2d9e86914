"""What the operator model hears of a request: its words, with the network's names and all numbers replaced by places.

    <s1> cameras <s2> signal control <f> cell plan <u> keep <s2> under <m1> ms in cell <n2>

The slices' names come first, then what the conversation was last about, then the request. A slice said by its name, or
by an alias that the network gives it, is its place in the list, so that a name never seen in training is as easy as any
other; any other nickname stays a word and has to be understood. `<n2>` is the second number said and the number of a
cell, `<m1>` the first and none. Digits in a name, as 5QI or n78, are left out: they number nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from agent.models.operator_quantities import APART, OWNING, TOUCHING, Quantity, is_slip, quantity_of

MAX_SLICES = 8
MAX_NUMBERS = 8
_MAX_TEXT = 300
_MAX_NAME = 6
"""Pieces of a slice's name that are read."""
_MAX_SHOWN = 3
_PIECE = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# "one" points more often than it counts: "that one", "which one".
NUMBER_WORDS = {word: n for n, word in enumerate(UNITS) if n > 1} | {
    word: 10 * n for n, word in enumerate(TENS, start=2)
}
_JOINTS = frozenset("-_/.")
_LEAST_PLURAL, _LEAST_PART, _LEAST_TYPO = 4, 5, 6
"""Letters of a word whose `s` is cut off, of a part that stands for its name, and of a name that may be mistyped."""
_COMMON_PARTS = frozenset({"control", "operation", "slice", "cell", "traffic", "network", "service", "effort", "floor"})
"""Parts of names that also mean something else in an operator's mouth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A request as the model reads it, and what its places stand for."""

    prompt: str
    numbers: tuple[float, ...]
    """In the order in which they were said."""
    is_cell: tuple[bool, ...]
    """Whether each number is a cell's."""
    quantities: tuple[Quantity, ...]
    """What each number counts."""
    said: tuple[str, ...]
    """Each number as it was said, with its unit."""
    num_slices: int
    cell: int | None
    """What the conversation was last about."""
    slice: int | None

    def number_symbol(self, place: int) -> str:
        """The symbol of a number, places from 0."""
        return f"<{'n' if self.is_cell[place] else 'm'}{place + 1}>"


def hear(
    text: str,
    *,
    cells: Sequence[int],
    slices: Sequence[str],
    aliases: Sequence[Sequence[str]] = (),
    cell: int | None = None,
    slice_number: int | None = None,
    has_plan: bool = False,
) -> Heard:
    """The request with names and numbers replaced; slices beyond the eighth go by no name.

    `aliases` are what else the network calls each slice, in the order of `slices`; an alias of two slices is none.
    """
    names = [_name_pieces(name) for name in slices[:MAX_SLICES]]
    others = [[_name_pieces(alias) for alias in each] for each in aliases[:MAX_SLICES]]
    pieces, gaps = _with_slices(normal_text(text).split(), _gaps(text), names, others)
    pieces, numbers = _with_numbers(pieces, gaps, frozenset(cells))
    known = [
        word for word, is_known in (("cell", cell is not None), ("slice", slice_number), ("plan", has_plan)) if is_known
    ]
    listed = " ".join(f"<s{n}> {_shown(name)}" for n, name in enumerate(names, start=1))
    return Heard(
        prompt=" ".join(f"{listed} <f> {' '.join(known)} <u> {' '.join(pieces)}".split()),
        numbers=tuple(number.value for number in numbers),
        is_cell=tuple(number.value in cells for number in numbers),
        quantities=tuple(number.quantity for number in numbers),
        said=tuple(_as_typed(number.said, text) for number in numbers),
        num_slices=len(names),
        cell=cell,
        slice=slice_number,
    )


def normal_text(text: str) -> str:
    """Lower case, plain characters, a blank between any two pieces, at most 300 characters."""
    return " ".join(_PIECE.findall(_APOSTROPHE.sub("", _plain(text))))[:_MAX_TEXT]


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[: 4 * _MAX_TEXT]).lower()


def _gaps(text: str) -> list[str]:
    """What stands before each piece of the normal text: nothing, a blank, or an apostrophe that was left out."""
    plain = _plain(text)
    owning = {match.start() - place for place, match in enumerate(_APOSTROPHE.finditer(plain))}
    plain = _APOSTROPHE.sub("", plain)
    gaps, end = [], -1
    for match in _PIECE.finditer(plain):
        is_apart = end < 0 or any(map(str.isspace, plain[end : match.start()]))
        gaps.append(OWNING if match.start() in owning else APART if is_apart else TOUCHING)
        end = match.end()
    return gaps


def _name_pieces(name: str) -> list[str]:
    return [piece for piece in normal_text(name).split() if piece not in _JOINTS][:_MAX_NAME] or ["?"]


def _shown(name: Sequence[str]) -> str:
    """A name as the model sees it; what is no name by its looks might be an order, and is not shown."""
    return " ".join(name) if len(name) <= _MAX_SHOWN and all(map(str.isalnum, name)) else "?"


def _with_slices(
    pieces: list[str], gaps: list[str], names: Sequence[Sequence[str]], aliases: Sequence[Sequence[Sequence[str]]]
) -> tuple[list[str], list[str]]:
    """The pieces and what stands before each.

    Longest names first, from left to right; then parts of names and names with a slip of the finger.
    """
    whole = _distinct_aliases(aliases)
    whole |= {_stem("".join(name)): number for number, name in reversed(list(enumerate(names, start=1)))}
    parts = {part: number for part, number in _distinct_parts(names).items() if part not in whole}
    longest = 2 * max(map(len, (*names, *chain.from_iterable(aliases))), default=1) - 1
    made: list[str] = []
    starts: list[int] = []
    at = 0
    while at < len(pieces):
        number, length = _slice_at(pieces, at, longest, whole, parts)
        if not number and not (made and made[-1].startswith("<s")):
            number, length = _numbered_slice(pieces, at, len(names))
        made.append(f"<s{number}>" if number else pieces[at])
        starts.append(at)
        at += length
    return made, [gaps[start] for start in starts]


def _slice_at(
    pieces: Sequence[str], at: int, longest: int, whole: dict[str, int], parts: dict[str, int]
) -> tuple[int, int]:
    """Number of the slice named at a place (0: none) and how many pieces name it."""
    if pieces[at] in _JOINTS:
        return 0, 1
    for length in range(min(longest, len(pieces) - at), 0, -1):
        window = pieces[at : at + length]
        if window[-1] not in _JOINTS:
            number = whole.get(_stem("".join(piece for piece in window if piece not in _JOINTS)), 0)
            if number:
                return number, length
    word = _stem(pieces[at])
    if word in parts:
        return parts[word], 1
    near = [
        number for name, number in whole.items() if min(len(name), len(word)) >= _LEAST_TYPO and is_slip(word, name)
    ]
    return (near[0] if len(near) == 1 else 0), 1


def _numbered_slice(pieces: Sequence[str], at: int, num_slices: int) -> tuple[int, int]:
    """A slice said by its place in the list, as `slice 2`."""
    if pieces[at] == "slice" and at + 1 < len(pieces) and pieces[at + 1].isdecimal():
        number = int(pieces[at + 1])
        if 1 <= number <= num_slices:
            return number, 2
    return 0, 1


def _distinct_aliases(aliases: Sequence[Sequence[Sequence[str]]]) -> dict[str, int]:
    owners: dict[str, set[int]] = {}
    for number, each in enumerate(aliases, start=1):
        for alias in each:
            owners.setdefault(_stem("".join(alias)), set()).add(number)
    return {alias: min(owned) for alias, owned in owners.items() if len(owned) == 1 and alias[0].isalpha()}


def _distinct_parts(names: Sequence[Sequence[str]]) -> dict[str, int]:
    """Words that only one name has, and that name's number."""
    owners: dict[str, list[int]] = {}
    for number, name in enumerate(names, start=1):
        for part in {_stem(piece) for piece in name}:
            owners.setdefault(part, []).append(number)
    return {
        part: numbers[0]
        for part, numbers in owners.items()
        if len(numbers) == 1 and len(part) >= _LEAST_PART and part not in _COMMON_PARTS
    }


def _stem(word: str) -> str:
    return word[:-1] if len(word) >= _LEAST_PLURAL and word.endswith("s") and not word.endswith("ss") else word


@dataclass(frozen=True, slots=True, kw_only=True)
class _Number:
    value: float
    quantity: Quantity
    said: tuple[str, ...]


def _with_numbers(pieces: Sequence[str], gaps: Sequence[str], cells: frozenset[int]) -> tuple[list[str], list[_Number]]:
    """The pieces with places for numbers, and the numbers; digits of names, as the 5 of 5QI, are left out."""
    made: list[str] = []
    numbers: list[_Number] = []
    at = 0
    while at < len(pieces):
        value, length = _number_at(pieces, at)
        start, at = at, at + length
        if value is None:
            made.append(pieces[start])
            continue
        quantity, end = quantity_of(pieces, gaps, start, at)
        if quantity is Quantity.NAME:
            continue
        if len(numbers) == MAX_NUMBERS:
            made.append("<more>")
        else:
            numbers.append(_Number(value=value, quantity=quantity, said=tuple(pieces[start:end])))
            made.append(f"<{'n' if value in cells else 'm'}{len(numbers)}>")
    return made, numbers


def _as_typed(words: Sequence[str], text: str) -> str:
    """Pieces of the normal text as they stand in the text itself."""
    found = re.search(r"\W*".join(map(re.escape, words)), text[: 4 * _MAX_TEXT], re.IGNORECASE)
    return found.group() if found else " ".join(words)


def _number_at(pieces: Sequence[str], at: int) -> tuple[float | None, int]:
    """A number in digits or words, and how many pieces it takes."""
    word = pieces[at]
    if _NUMBER.fullmatch(word):
        return float(word), 1
    if word not in NUMBER_WORDS:
        return None, 1
    value, length = NUMBER_WORDS[word], 1
    rest = [piece for piece in pieces[at + 1 : at + 3] if piece not in _JOINTS][:1]
    if word in TENS and rest and rest[0] in UNITS[1:10]:
        length = pieces.index(rest[0], at + 1) - at + 1
        value += UNITS.index(rest[0])
    return float(value), length

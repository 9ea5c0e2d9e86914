"""Phrasings on disk: lines of text with slots, under headers that name the tool calls they stand for.

    # what_if_demand change=times value=2-9
    {suppose|say} <s> traffic grows <v> fold

`{a|b|}` is a choice and may hold others, `@if` one from the list of that name in `words.txt`. `<c>` is a cell, `<C>`
the cell last spoken of and `<I>` the same owning something. `<s>`, `<S>` and `<t>` are a slice, the slice last spoken
of and the slice that has to give way, `<v>` a value, `<n>` a plan's version; `<z>` is a number that no cell has, `<x>`
a slice that does not exist, `<k>` any number. Several calls are joined by ` + `.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.errors import AgentInputInvalid
from agent.models.operator_hearing import TENS, UNITS
from agent.models.operator_language import ARGUMENTS, Call, Value, call
from agent.pretraining.operator_language.networks import Network

FOLDER = Path(__file__).parent / "phrasings"
_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<([cCIsStvnxzk])>")
_WORD_LIST = re.compile(r"@([a-z_]+)")
_MOST_VERSION = 60
_CELL_FORMS = (
    *("cell {}",) * 8, *("c{}", "cell{}", "site {}") * 2, "cell number {}", "cell #{}", "cell no {}", "gnb {}",
    "base station {}", "the cell {}", "cell id {}", "cell-{}", "node {}", "number {}", "bs {}",
)  # fmt: skip
_LAST_CELL = (
    "that cell", "this cell", "that one", "it", "the same cell", "that site", "this one", "this site",
    "that base station", "the cell", "the site", "this same cell",
)  # fmt: skip
_ITS = ("its", "its", "that cell's", "the cell's", "this cell's", "that site's", "that one's")
_LAST_SLICE = (
    "that slice", "this slice", "that service", "the same slice", "this service", "the slice", "that traffic", "it",
    "that one", "them", "those",
)  # fmt: skip
_SPELLED_ODDS = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasing:
    """One line: its text with slots, and the calls it stands for."""

    text: str
    calls: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    """Tool and fixed arguments; `value` is a range low-high."""

    @property
    def family(self) -> str:
        return " + ".join(tool for tool, _ in self.calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A phrasing with its slots filled, and what should come of it."""

    text: str
    calls: tuple[Call, ...]
    skeleton: str
    """What was said, slots blanked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """What the conversation was about before."""

    cell: int | None = None
    slice: int | None = None
    """Position in the network's list, from 1."""
    version: int | None = None


def read_phrasings(path: Path) -> tuple[Phrasing, ...]:
    """Read a file of phrasings; raises AgentInputInvalid with the line that can't be read."""
    words = read_words(FOLDER / "words.txt")
    phrasings: list[Phrasing] = []
    calls: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#"):
            calls = tuple(_read_header(part, f"{path.name}:{number}") for part in line[1:].split(" + "))
        elif line.strip():
            phrasings.append(Phrasing(text=_with_words(line.strip(), words, f"{path.name}:{number}"), calls=calls))
    return tuple(phrasings)


def read_words(path: Path) -> dict[str, str]:
    """Lists of words that mean much the same here: `name = this|that`, which may use lists above them."""
    words: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, options = line.partition(" = ")
        if options:
            words[name] = "{" + _with_words(options, words, f"{path.name}:{number}") + "}"
    return words


def fill(phrasing: Phrasing, network: Network, focus: Focus, rng: np.random.Generator) -> Utterance:
    """The phrasing with choices made and slots filled from the network."""
    text = _choose(phrasing.text, rng)
    slots = _draw(phrasing, network, focus, rng)
    unused = list(_SLOT.findall(text))
    calls = tuple(call(tool, _arguments(tool, dict(fixed), unused, slots)) for tool, fixed in phrasing.calls)
    said = _SLOT.sub(lambda match: _mention(match.group(1), slots, network, rng), text)
    return Utterance(text=said, calls=calls, skeleton=skeleton(text))


def skeleton(text: str) -> str:
    """A text with every slot blanked, case and spacing apart: equal skeletons are the same phrasing."""
    return re.sub(r"[^a-z0-9<>%]", "", _SLOT.sub("<>", text).lower())


def _with_words(text: str, words: dict[str, str], where: str) -> str:
    unknown = [name for name in _WORD_LIST.findall(text) if name not in words]
    if unknown:
        raise AgentInputInvalid(f"{where}: {unknown} name no list of words; {sorted(words)} do")
    return _WORD_LIST.sub(lambda match: words[match.group(1)], text)


def _read_header(part: str, where: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    tool, *fields = part.split()
    if tool not in ARGUMENTS:
        raise AgentInputInvalid(f"{where}: tool {tool!r} is unknown; tools are {', '.join(ARGUMENTS)}")
    pairs = tuple((name, value) for name, _, value in (field.partition("=") for field in fields))
    unknown = {name for name, _ in pairs} - set(ARGUMENTS[tool])
    if unknown:
        raise AgentInputInvalid(f"{where}: {sorted(unknown)} is no argument of {tool}; {ARGUMENTS[tool]} are")
    return tool, pairs


def _choose(text: str, rng: np.random.Generator) -> str:
    while match := _CHOICE.search(text):
        options = match.group(1).split("|")
        text = text[: match.start()] + str(options[rng.integers(len(options))]) + text[match.end() :]
    return re.sub(r"\s+", " ", text).strip()


def _draw(phrasing: Phrasing, network: Network, focus: Focus, rng: np.random.Generator) -> dict[str, Value]:
    """A value for every slot; no two numbers and no two slices are the same, so that a text says what it means."""
    others = [n for n in range(1, len(network.slices) + 1) if n != focus.slice]
    first, second = ([*rng.permutation(others), None] if len(others) == 1 else list(rng.permutation(others)))[:2]
    ranges = [value for _, fixed in phrasing.calls for name, value in fixed if name == "value" and "-" in value]
    slots: dict[str, Value] = {
        "C": focus.cell,
        "I": focus.cell,
        "S": focus.slice,
        "s": int(first),
        "t": None if second is None else int(second),
        "x": network.stranger(rng),
    }
    taken = {float(focus.cell)} if focus.cell is not None else set[float]()
    for slot in "cvnzk":
        number = _draw_number(slot, ranges, network, rng)
        while number in taken:
            number = _draw_number(slot, ranges, network, rng)
        slots[slot] = number
        taken |= {float(number)}
    return slots


def _draw_number(slot: str, ranges: Sequence[str], network: Network, rng: np.random.Generator) -> int | float:
    if slot == "c":
        return int(rng.choice(network.cells))
    if slot == "v" and ranges:
        return _draw_value(ranges, rng)
    if slot == "z":
        return int(max(network.cells) + rng.integers(1, 300))
    return int(rng.integers(1, _MOST_VERSION))


def _draw_value(ranges: Sequence[str], rng: np.random.Generator) -> int | float:
    low, high = map(int, ranges[0].split("-"))
    value = int(rng.integers(low, high + 1))
    return value + int(rng.integers(1, 10)) / 10 if rng.random() < 0.12 and high < 100 else value


def _arguments(tool: str, fixed: dict[str, str], unused: list[str], slots: dict[str, Value]) -> dict[str, Value]:
    """What the call takes from the slots that no call before it has taken."""
    named = {
        "c": "cell",
        "C": "cell",
        "I": "cell",
        "s": "slice",
        "S": "slice",
        "t": "yields",
        "v": "value",
        "n": "version",
    }
    filled: dict[str, Value] = {name: _fixed(v) for name, v in fixed.items() if "-" not in v}
    for slot in tuple(unused):
        if named.get(slot) in ARGUMENTS[tool]:
            filled[named[slot]] = slots[slot]
            unused.remove(slot)
    return filled


def _fixed(value: str) -> Value:
    return int(value) if value.isdecimal() else value


def _mention(slot: str, slots: dict[str, Value], network: Network, rng: np.random.Generator) -> str:
    value = slots[slot]
    if slot == "C":
        return str(_LAST_CELL[rng.integers(len(_LAST_CELL))])
    if slot == "I":
        return str(_ITS[rng.integers(len(_ITS))])
    if slot == "S":
        return str(_LAST_SLICE[rng.integers(len(_LAST_SLICE))])
    if slot == "x":
        return str(value)
    if slot in "st" and isinstance(value, int):
        return network.mention(value, rng)
    number = _spelled(value) if isinstance(value, int) and rng.random() < _SPELLED_ODDS else f"{value:g}"
    form = _CELL_FORMS[rng.integers(len(_CELL_FORMS))] if slot in "cz" else "{}"
    return form.format(f"{value:g}" if form[0] == "c" and " " not in form else number)


def _spelled(number: int) -> str:
    """A number in words, where it has a short one."""
    if 1 < number < len(UNITS):
        return UNITS[number]
    tens, units = divmod(number, 10)
    if not len(UNITS) <= number < 100:
        return str(number)
    return TENS[tens - 2] + (f" {UNITS[units]}" if units else "")

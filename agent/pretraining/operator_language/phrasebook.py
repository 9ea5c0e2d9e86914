"""Phrasings on disk: lines of text with slots, under headers that name the tool calls they stand for.

    # what_if_demand change=times value=2-9
    {suppose|say} <s> traffic grows <v> fold

`{a|b|}` is a choice, `<c>` a cell, `<C>` the cell last spoken of, `<s>`, `<S>` and `<t>` a slice, the slice last spoken
of and the slice that has to give way, `<v>` a value, `<n>` a plan's version. Several calls are joined by ` + `.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.errors import AgentInputInvalid
from agent.models.operator_language import ARGUMENTS, Call, call
from agent.pretraining.operator_language.networks import Network

FOLDER = Path(__file__).parent / "phrasings"
_CHOICE = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"<([cCsStvn])>")
_CELL_FORMS = ("cell {}", "cell {}", "cell {}", "cell {}", "c{}", "cell{}", "site {}", "cell number {}", "cell #{}")


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
    phrasings: list[Phrasing] = []
    calls: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#"):
            calls = tuple(_read_header(part, f"{path.name}:{number}") for part in line[1:].split(" + "))
        elif line.strip():
            phrasings.append(Phrasing(text=line.strip(), calls=calls))
    return tuple(phrasings)


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


def _draw(
    phrasing: Phrasing, network: Network, focus: Focus, rng: np.random.Generator
) -> dict[str, int | float | None]:
    first, second = rng.permutation(len(network.slices))[:2] + 1
    ranges = [value for _, fixed in phrasing.calls for name, value in fixed if name == "value"]
    return {
        "c": int(rng.choice(network.cells)),
        "C": focus.cell,
        "s": int(first),
        "S": focus.slice,
        "t": int(second),
        "v": _draw_value(ranges, rng),
        "n": int(rng.integers(1, 60)),
    }


def _draw_value(ranges: Sequence[str], rng: np.random.Generator) -> int | float | None:
    if not ranges:
        return None
    low, high = map(int, ranges[0].split("-"))
    value = int(rng.integers(low, high + 1))
    return value + int(rng.integers(1, 10)) / 10 if rng.random() < 0.12 and high < 100 else value


def _arguments(
    tool: str, fixed: dict[str, str], unused: list[str], slots: dict[str, int | float | None]
) -> dict[str, int | float | str | None]:
    """What the call takes from the slots that no call before it has taken."""
    named = {"c": "cell", "C": "cell", "s": "slice", "S": "slice", "t": "yields", "v": "value", "n": "version"}
    filled: dict[str, int | float | str | None] = {name: v for name, v in fixed.items() if name != "value"}
    for slot in tuple(unused):
        if named[slot] in ARGUMENTS[tool]:
            filled[named[slot]] = slots[slot]
            unused.remove(slot)
    return filled


def _mention(slot: str, slots: dict[str, int | float | None], network: Network, rng: np.random.Generator) -> str:
    value = slots[slot]
    if slot == "C":
        return str(rng.choice(("that cell", "this cell", "that one", "it", "the same cell", "that site")))
    if slot == "S":
        return str(rng.choice(("that slice", "this slice", "that service", "the same slice")))
    if slot == "c":
        return str(rng.choice(_CELL_FORMS)).format(value)
    if slot in "st" and isinstance(value, int):
        return network.mention(value, rng)
    return f"{value:g}"

"""The language between operator and embedded chat model: the prompt, the calls, and the grammar of an answer.

    s 1 = cameras ; 2 = signal - control
    c cell = 2 ; slice = ? ; plan = 5
    u what if that cell went down
    [{"tool":"what_if_down","cell":2}]

Slices are numbered by their place in the list, so that names the model never saw can be spoken of. The `c` line is what
the conversation was last about.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Value = int | float | str | None

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "network_status": ("cell", "slice"),
    "find_worst": ("kind",),
    "describe_topology": ("cell",),
    "explain_decision": ("cell",),
    "compare_planners": ("cell",),
    "what_if_down": ("cell",),
    "what_if_demand": ("slice", "cell", "change", "value"),
    "what_if_share": ("slice", "cell", "value"),
    "propose_plan": (),
    "show_diff": (),
    "request_approval": (),
    "approve_plan": ("version",),
    "reject_plan": ("version",),
    "apply_plan": ("version",),
    "roll_back": ("version",),
    "set_goal": ("metric", "value", "slice", "cell", "when", "yields"),
    "clear_goals": (),
    "list_goals": (),
    "show_history": ("cell", "slice"),
    "search_incidents": ("cell",),
    "write_report": (),
    "help": (),
    "ask": ("about",),
    "decline": (),
}
"""Every call and its arguments, in the order in which they are written."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("cell", "slice"),
    "change": ("times", "up_pct", "down_pct"),
    "metric": ("delay_ms", "in_time_pct", "rate_mbps", "priority_up", "priority_down", "energy"),
    "when": ("always", "cell_down", "congested"),
    "about": ("cell", "slice", "request"),
}
_DEFAULTS: dict[str, Value] = {"when": "always"}
_NEEDED = {("what_if_down", "cell"), ("what_if_demand", "slice"), ("what_if_share", "slice")} | {
    ("what_if_demand", "value"),
    ("what_if_share", "value"),
}
MAX_CALLS = 3
_MAX_TEXT = 300
_PIECE = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[^\w\s]")
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool and its arguments, in the order of ARGUMENTS."""

    tool: str
    arguments: tuple[tuple[str, Value], ...]


def call(tool: str, given: Mapping[str, Value]) -> Call:
    """A call with defaults where nothing is given."""
    names = ARGUMENTS[tool]
    return Call(tool=tool, arguments=tuple((name, given.get(name, _DEFAULTS.get(name))) for name in names))


def write_prompt(text: str, slices: Sequence[str], *, cell: Value, slice_number: Value, plan: Value) -> str:
    """What the model reads for one request."""
    listed = " ; ".join(f"{number} = {normal_text(name)}" for number, name in enumerate(slices, start=1))
    about = f"cell = {_or_unknown(cell)} ; slice = {_or_unknown(slice_number)} ; plan = {_or_unknown(plan)}"
    return f"s {listed}\nc {about}\nu {normal_text(text)}\n"


def normal_text(text: str) -> str:
    """Lower case, plain characters, a blank between any two pieces, at most 300 characters."""
    plain = unicodedata.normalize("NFKC", text[: 4 * _MAX_TEXT]).lower()
    return " ".join(_PIECE.findall(_APOSTROPHE.sub("", plain)))[:_MAX_TEXT]


def write_calls(calls: Sequence[Call]) -> str:
    """The answer a model should give, as compact JSON."""
    return json.dumps([{"tool": c.tool, **dict(c.arguments)} for c in calls], separators=(",", ":"))


def read_calls(text: str) -> tuple[Call, ...]:
    """Read an answer that the grammar let through."""
    rows = json.loads(text)
    return tuple(call(row.pop("tool"), row) for row in rows)


def answer_schema(cells: Sequence[int], num_slices: int) -> dict[str, object]:
    """JSON schema of an answer about a network: unknown cells and slices can't be written."""
    options = [_call_schema(tool, cells, num_slices) for tool in ARGUMENTS]
    return {"type": "array", "items": {"anyOf": options}, "minItems": 1, "maxItems": MAX_CALLS}


def _call_schema(tool: str, cells: Sequence[int], num_slices: int) -> dict[str, object]:
    properties: dict[str, object] = {"tool": {"const": tool}}
    for name in ARGUMENTS[tool]:
        properties[name] = _argument_schema(tool, name, cells, num_slices)
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _argument_schema(tool: str, name: str, cells: Sequence[int], num_slices: int) -> dict[str, object]:
    if name in _CHOICES:
        return {"enum": list(_CHOICES[name])}
    numbers: dict[str, dict[str, object]] = {
        "cell": {"enum": list(cells)} if cells else {"type": "integer", "minimum": 0, "maximum": 999},
        "slice": {"enum": list(range(1, num_slices + 1))},
        "yields": {"enum": list(range(1, num_slices + 1))},
        "version": {"type": "integer", "minimum": 0, "maximum": 99_999},
        "value": {"type": "number", "minimum": 0, "maximum": 100_000},
    }
    schema = numbers[name]
    return schema if (tool, name) in _NEEDED else {"anyOf": [schema, {"type": "null"}]}


def _or_unknown(value: Value) -> str:
    return "?" if value is None else str(value)

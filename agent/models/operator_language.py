"""The calls that an operator's request can stand for, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

CHOICES: dict[str, tuple[str, ...]] = {
    "kind": ("cell", "slice"),
    "change": ("times", "up_pct", "down_pct", "to_pct"),
    "metric": ("delay_ms", "in_time_pct", "rate_mbps", "priority_up", "priority_down", "energy"),
    "when": ("always", "cell_down", "congested"),
    "about": ("cell", "slice", "goal", "request"),
}
CHANGING = frozenset({"approve_plan", "reject_plan", "apply_plan", "roll_back", "set_goal", "clear_goals"})
"""Calls that change something, and so are made only when the model is sure."""
BOUND = CHANGING | {"what_if_down", "what_if_demand", "what_if_share"}
"""Calls that do what was said or play it through, so must not leave out a quantity that no argument takes."""
AT_A_CELL = frozenset({"network_status", "show_history", "search_incidents", "describe_topology", "explain_decision"})
"""Looks at one cell, which can be taken at another as well."""
_DEFAULTS: dict[str, Value] = {"when": "always"}
NEEDED = frozenset(
    {
        ("what_if_down", "cell"),
        ("what_if_demand", "slice"),
        ("what_if_demand", "value"),
        ("what_if_share", "slice"),
        ("what_if_share", "value"),
    }
)
"""Arguments without which a call makes no sense."""
MAX_CALLS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool and its arguments, in the order of ARGUMENTS."""

    tool: str
    arguments: tuple[tuple[str, Value], ...]


def call(tool: str, given: Mapping[str, Value]) -> Call:
    """A call with defaults where nothing is given."""
    names = ARGUMENTS[tool]
    return Call(tool=tool, arguments=tuple((name, given.get(name, _DEFAULTS.get(name))) for name in names))


def read_calls(text: str) -> tuple[Call, ...]:
    """Read calls from JSON, as `[{"tool": "help"}]`."""
    rows = json.loads(text)
    return tuple(call(row.pop("tool"), row) for row in rows)

"""What a tool gives back: figures, a text built from them alone, and what the talk is now about."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from agent.errors import AgentInputInvalid
from telemetry_sim.topology import SliceProfile, Topology

_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A tool's result."""

    text: str
    """First line the answer, then the evidence; every number in it stands in `data`."""
    data: dict[str, object] = field(default_factory=dict)
    focus: dict[str, object] = field(default_factory=dict)
    """`cell`, `slice` or `plan` that `that one` would mean now."""
    exit_status: int = 0

    def to_json(self) -> str:
        """What a language model reads."""
        document = {"text": self.text, "data": self.data, "focus": self.focus, "exit_status": self.exit_status}
        return json.dumps(document, ensure_ascii=False)


def require_cell(topology: Topology, cell: int) -> int:
    """The cell; raises AgentInputInvalid with the cells there are."""
    known = [site.id for site in topology.cells]
    if cell not in known:
        raise AgentInputInvalid(f"cell {cell} is unknown; cells are {', '.join(map(str, known[:20]))}")
    return cell


def require_slice(topology: Topology, name: str) -> SliceProfile:
    """The slice of a name, its id or an unambiguous beginning of its name; raises AgentInputInvalid."""
    wanted = name.strip().lower()
    exact = [p for p in topology.slices if wanted in (p.name.lower(), str(p.id))]
    near = exact or [p for p in topology.slices if wanted and p.name.lower().startswith(wanted)]
    if len(near) != 1:
        names = ", ".join(profile.name for profile in topology.slices)
        raise AgentInputInvalid(f"slice {name[:40]!r} is unknown; slices are {names}")
    return near[0]


def percent(ratio: float) -> float:
    """A ratio as percent with one decimal."""
    return round(100.0 * ratio, 1)


def sparkline(values: list[float], *, least_span: float = 5.0) -> str:
    """A line of bars, the highest value at the top; differences far below `least_span` don't show."""
    if not values:
        return ""
    high = max(values)
    span = max(high - min(values), least_span)
    steps = len(_BARS) - 1
    return "".join(_BARS[steps - round((high - value) / span * steps)] for value in values)

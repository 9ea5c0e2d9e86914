"""How a measured figure is told: beside its target, with whether it holds."""

from __future__ import annotations

from typing import Any

Figure = dict[str, Any]


def figure(name: str, measured: float, target: float | None = None, *, at_most: bool = False) -> Figure:
    """One row; without a target it is only told."""
    holds = None if target is None else bool(measured <= target if at_most else measured >= target)
    sign = "<=" if at_most else ">="
    return {
        "figure": name,
        "measured": round(float(measured), 4),
        "target": None if target is None else f"{sign} {target:g}",
        "holds": holds,
    }


def as_text(row: Figure) -> str:
    """The row as aligned text."""
    return f"{row['figure']:<72} {row['measured']!s:>12}  target {row['target']!s:<10} holds {row['holds']}"

"""A diff told by cell and slice; read without anything heavy."""

from __future__ import annotations

from collections.abc import Sequence


def change_rows(changes: Sequence[dict[str, object]]) -> list[tuple[str, str]]:
    """Where and what, a row for each cell or slice of a cell."""
    rows: dict[str, list[str]] = {}
    for change in changes:
        where = f"cell {change['cell']}{'' if change['slice'] is None else ' ' + str(change['slice'])}"
        what = str(change["field"]).removesuffix("_pct").replace("_", " ")
        rows.setdefault(where, []).append(f"{what} {_told(change['from'])} to {_told(change['to'])}")
    return [(where, ", ".join(parts)) for where, parts in rows.items()]


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

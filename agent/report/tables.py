"""The comparison as a terminal table and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from agent.report.figures import Figure

_HEADINGS = (
    "planner",
    "utility",
    "of optimiser",
    "SLA",
    "SLA by priority",
    "Jain",
    "worst p95 ms",
    "energy kJ",
    "valid %",
    "own %",
    "fallback %",
)


def table_rows(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """Cells of the comparison, a tuple per planner."""
    return [
        (
            row["planner"],
            f"{row['utility']:.4f}",
            _or_dash(row["utility_to_optimiser"], "{:.3f}"),
            f"{row['sla_mean']:.3f}",
            f"{row['sla_by_priority']:.3f}",
            f"{row['jain']:.3f}",
            _or_dash(_worst(row["delay_p95_ms"].values()), "{:g}"),
            f"{row['energy_kj']:.1f}",
            _or_dash(row["valid_pct"], "{:.1f}"),
            _or_dash(row["own_pct"], "{:.1f}"),
            _or_dash(row["fallback_pct"], "{:.1f}"),
        )
        for row in document["planners"]
    ]


def comparison_table(document: dict[str, Any]) -> Table:
    """A rich table; the best utility stands out."""
    seeds = ", ".join(map(str, document["seeds"]))
    table = Table(title=f"{document['scenario']} · {document['num_intervals']} intervals · seeds {seeds}")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "planner" else "right", no_wrap=heading == "planner")
    best = max((row["utility"] for row in document["planners"]), default=0.0)
    for row, cells in zip(document["planners"], table_rows(document), strict=True):
        table.add_row(*cells, style="bold green" if row["utility"] == best else "")
    return table


def comparison_markdown(document: dict[str, Any]) -> str:
    """The same table in Markdown."""
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS)]
    lines += ["| " + " | ".join(cells) + " |" for cells in table_rows(document)]
    return "\n".join(lines)


def sla_markdown(document: dict[str, Any]) -> str:
    """SLA satisfaction per slice, a row per planner."""
    slices = document["slices"]
    lines = ["| planner | " + " | ".join(slices) + " |", "|" + "---|" * (len(slices) + 1)]
    lines += [
        f"| {row['planner']} | " + " | ".join(f"{row['sla'][name]:.3f}" for name in slices) + " |"
        for row in document["planners"]
    ]
    return "\n".join(lines)


def bench_table(document: dict[str, Any]) -> Table:
    """Planners over many episodes, with their 95 % intervals."""
    title = f"{document['num_episodes']} episodes of {document['num_intervals']} intervals"
    table = Table(title=title)
    headings = ("planner", "utility", "95 %", "to optimiser", "SLA", "energy kJ", "≥ trivial %", "valid %", "p95 ms")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "planner" else "right", no_wrap=heading == "planner")
    for name, row in document["planners"].items():
        table.add_row(
            name,
            f"{row['utility']['mean']:.4f}",
            f"{row['utility']['low']:.4f}-{row['utility']['high']:.4f}",
            f"{row['difference_to_optimiser']['mean']:+.4f}",
            f"{row['sla']['mean']:.3f}",
            f"{row['energy_kj']['mean']:.1f}",
            f"{row['not_below_best_trivial_pct']:.0f}",
            _or_dash(row["valid_pct"], "{:.1f}"),
            f"{row['decision_p95_ms']:.1f}",
        )
    return table


def figures_table(figures: list[Figure]) -> Table:
    """Figures beside their targets."""
    table = Table()
    for heading in ("figure", "measured", "target", "holds"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for row in figures:
        holds = "–" if row["holds"] is None else ("yes" if row["holds"] else "no")
        table.add_row(row["figure"], f"{row['measured']:.4g}", row["target"] or "–", holds)
    return table


def _worst(delays: Iterable[float | None]) -> float | None:
    """Of those that were measured."""
    return max((delay for delay in delays if delay is not None), default=None)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)

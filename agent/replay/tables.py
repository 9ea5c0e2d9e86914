"""A replay on a terminal and in Markdown."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from agent.replay.what_if import is_link_known

_MAX_ROWS = 24
_TOLD = {
    "demand_kbps": "the demand",
    "in_time_ratio": "what was in time",
    "delay_p95_ms": "delays",
    "prb_used": "PRBs",
}
_SHORT = {"model": "model", "repaired": "repaired", "fallback": "fallback", "formula": "formula", "none": "—"}


def replay_table(document: dict[str, Any]) -> Table:
    """Decisions spread evenly over the replay; numbers and schedulers stand in the slices' order."""
    rows = document["intervals"]
    shown = rows if len(rows) <= _MAX_ROWS else [rows[i * len(rows) // _MAX_ROWS] for i in range(_MAX_ROWS)]
    has_peer = any("peer" in row for row in rows)
    slices = " ".join(document["slices"])
    table = Table(title=f"{document['trace']} · {len(shown)} of {len(rows)} decisions · {slices}")
    headings = ["interval", "until s", "cell", "demand kb/s", "ours %", "sched.", "by", "utility"]
    if has_peer:
        headings += ["peer %", "sched.", "utility"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in shown:
        table.add_row(*_row(row, has_peer=has_peer))
    return table


def summary_lines(document: dict[str, Any]) -> list[str]:
    """What matters, in sentences."""
    rows, edge, validity = document["rows"], document["edge_rows"], document["validity"]
    by = ", ".join(f"{_SHORT[name]} {count}" for name, count in document["sources"].items() if count)
    edge_rows = f"{edge['received']} = {edge['accepted']} + {edge['quarantined']}{_reasons(edge['reasons'])}"
    quarantined = f"{rows['quarantined']} quarantined{_reasons(rows['reasons'])}"
    policies = f"{document['num_policies']} policies in {document['num_intervals']} intervals"
    lines = [
        f"Rows: {rows['read']} read = {rows['accepted']} accepted + {quarantined}.",
        f"At the edge, readings and log lines included: {edge_rows}.",
        f"{policies}, {validity['policies_valid']} valid; written by: {by}.",
    ]
    if validity["answers"]:
        lines.append(f"Model answers: {validity['answers_valid']} of {validity['answers']} valid before any repair.")
    if document["unknown"]:
        lines.append(_unknown_line(document["unknown"]))
    lines += _utility_lines(document["summary"])
    return lines + _peer_lines(document["summary"])


def _row(row: dict[str, Any], *, has_peer: bool) -> tuple[str, ...]:
    cells = (
        str(row["interval"]),
        f"{row['time_s']:g}",
        str(row["cell"]),
        _numbers(row["demand_kbps"]),
        _numbers(row["ours"]["min_pct"]),
        " ".join(row["ours"]["scheduler"].values()),
        _SHORT[row["source"]],
        f"{row['what_if']['ours']['foreseen']:.4f}",
    )
    if not has_peer:
        return cells
    peer = row.get("peer")
    if peer is None:
        return (*cells, "—", "—", "—")
    return (
        *cells,
        _numbers(peer["min_pct"]),
        " ".join(peer["scheduler"].values()),
        f"{row['what_if']['peer']['foreseen']:.4f}",
    )


def _utility_lines(summary: dict[str, Any]) -> list[str]:
    if not summary["mean_min_pct"]:
        return []
    by_planner = summary["what_if"]["where_the_peer_decided"] or summary["what_if"]["all"]
    parts = [
        f"{name} {one['foreseen']:.4f}" + ("" if one["hindsight"] is None else f" ({one['hindsight']:.4f})")
        for name, one in by_planner.items()
    ]
    beside = "" if all(one["hindsight"] is None for one in by_planner.values()) else " (against the demand that came)"
    return [f"Utility in the twin, foreseen{beside}: {', '.join(parts)}."]


def _unknown_line(unknown: list[str]) -> str:
    told = f"The recording does not hold {', '.join(_TOLD[name] for name in unknown)}"
    served = "; what was served counts as the demand" if "demand_kbps" in unknown else ""
    link = "" if is_link_known(unknown) else "; what a PRB carries is guessed, so there is no hindsight"
    return f"{told}{served}{link}."


def _peer_lines(summary: dict[str, Any]) -> list[str]:
    found = summary["agreement"]
    if found is None:
        return []
    correlation = "undefined" if found["correlation"] is None else f"{found['correlation']:.3f}"
    against = summary["against_peer"]["hindsight"]
    near = f"{found['exact_pct']:.1f} % equal, {found['within_one_pct']:.1f} % within one"
    apart = f"{found['mean_abs_groups']:.2f} of 17 groups apart per slice, {near}, correlation {correlation}"
    schedulers = f"schedulers equal in {found['scheduler_pct']:.1f} % (its wf taken as pf)"
    counts = f"{against['ours_better']} states, equal in {against['equal']}, the peer's in {against['peer_better']}"
    return [
        f"Agreement with the peer over {found['num_states']} states: {apart}, {schedulers}.",
        f"Against the demand that came, our plan is better in {counts}.",
    ]


def _numbers(values: dict[str, float]) -> str:
    return " ".join(f"{value:.0f}" for value in values.values())


def _reasons(reasons: dict[str, int]) -> str:
    return f" ({', '.join(f'{name} {count}' for name, count in reasons.items())})" if reasons else ""

"""Tools that look: status, the worst cell or slice, topology, history, incidents, goals, report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agent.control_room import ControlRoom, goal_document
from agent.store.decisions import list_decisions
from agent.store.policies import list_policies
from agent.tools.finding import Finding, percent, require_cell, require_slice, sparkline
from agent.utility import slice_worth

if TYPE_CHECKING:
    from agent.control_room import Interval
    from agent.goal import GoalTerms
    from edge_preprocess.digest import EdgeDigest, SliceDigest
    from telemetry_sim.topology import SliceProfile, Topology

_SHOWN = 8


def network_status(room: ControlRoom, *, cell: int | None = None, slice: str | None = None) -> Finding:  # noqa: A002 - the operator's word
    """Current KPIs of the network, of one cell, of one slice, or of one slice in one cell."""
    if cell is not None:
        require_cell(room.topology, cell)
    if slice is not None:
        return _slice_status(room, require_slice(room.topology, slice), cell)
    return _network_overview(room) if cell is None else _cell_status(room, cell)


def find_worst(room: ControlRoom, *, kind: str = "cell") -> Finding:
    """The worst cell or slice of the last interval, and what makes it so."""
    return _worst_slice(room) if kind == "slice" else _worst_cell(room)


def describe_topology(room: ControlRoom, *, cell: int | None = None) -> Finding:
    """Cells, slices and promises; with a cell: its site and neighbours."""
    topology = room.topology
    if cell is not None:
        site = next(s for s in topology.cells if s.id == require_cell(topology, cell))
        data = {
            "cell": site.id,
            "name": site.name,
            "neighbours": list(site.neighbours),
            "num_prb": site.num_prb,
            "bandwidth_mhz": site.bandwidth_mhz,
            "edge_cpu_ghz": site.edge_cpu_ghz,
            "backhaul_mbps": site.backhaul_mbps,
        }
        near = ", ".join(map(str, site.neighbours)) or "none"
        text = (
            f"Cell {site.id} has neighbours {near}.\n{site.num_prb} PRBs in {site.bandwidth_mhz:g} MHz, edge CPU "
            f"{site.edge_cpu_ghz:g} GHz, backhaul {site.backhaul_mbps:g} Mb/s."
        )
        return Finding(text=text, data=data, focus={"cell": site.id})
    slices = [_promise(profile) for profile in topology.slices]
    cells = [site.id for site in topology.cells]
    lines = [f"{len(cells)} cells ({', '.join(map(str, cells[:20]))}) and {len(slices)} slices."]
    lines += [
        f"- {s['slice']}: {s['in_time_target_pct']:g} % within {s['delay_budget_ms']:g} ms, weight {s['weight']:g}"
        for s in slices
    ]
    return Finding(
        text="\n".join(lines),
        data={"num_cells": len(cells), "cells": cells, "num_slices": len(slices), "slices": slices},
    )


def show_history(room: ControlRoom, *, cell: int | None = None, slice: str | None = None) -> Finding:  # noqa: A002 - the operator's word
    """How utility, or a slice's in-time ratio, went over the last intervals, and which policies were kept."""
    if cell is not None:
        require_cell(room.topology, cell)
    profile = None if slice is None else require_slice(room.topology, slice)
    values = [percent(_measure(interval, cell, profile)) for interval in room.intervals][-40:]
    what = "utility" if profile is None else f"{profile.name} in time"
    where = "" if cell is None else f" of cell {cell}"
    kept = room.store.read(lambda connection: list_policies(connection, limit=_SHOWN))
    versions = [{"version": k.policy.version, "planner": k.policy.planner, "status": k.status.value} for k in kept]
    decisions = len(room.store.read(lambda connection: list_decisions(connection, limit=50)))
    data: dict[str, object] = {"series_pct": values, "versions": versions, "num_decisions": decisions}
    data |= {"num_intervals": len(values), "version_in_force": room.gate.desired.version}
    on_record = "1 decision is" if decisions == 1 else f"{decisions} decisions are"
    span = f"{values[0]:g} % to {values[-1]:g} % over {len(values)} intervals"
    text = f"{what.capitalize()}{where}: {span}  {sparkline(values)}"
    lines = [
        text,
        f"Version {room.gate.desired.version} is in force; {on_record} on record.",
    ]
    lines += [f"- version {v['version']} ({v['planner']}): {v['status']}" for v in versions]
    return Finding(text="\n".join(lines), data=data, focus=_focus(cell, profile))


def search_incidents(room: ControlRoom, *, cell: int | None = None) -> Finding:
    """Anomalies and log events of the intervals seen so far, the most frequent first."""
    if cell is not None:
        require_cell(room.topology, cell)
    found: Counter[tuple[int, str, str]] = Counter()
    for interval in room.intervals:
        for digest in interval.digests:
            if cell is None or digest.cell == cell:
                found.update((digest.cell, a.kind.value, a.severity.value) for a in digest.anomalies)
                found.update({(digest.cell, event.name, "event"): event.count for event in digest.events})
    rows = [
        {"cell": where, "what": what, "severity": severity, "count": count}
        for (where, what, severity), count in found.most_common(_SHOWN)
    ]
    data: dict[str, object] = {"num_intervals": len(room.intervals), "num_kinds": len(found), "incidents": rows}
    if not rows:
        place = "" if cell is None else f" at cell {cell}"
        text = f"No incidents{place} in the last {len(room.intervals)} intervals."
        return Finding(text=text, data=data | {"cell": cell}, focus=_focus(cell, None))
    lines = [f"{len(found)} kinds of incident in the last {len(room.intervals)} intervals; the most frequent:"]
    lines += [
        f"- cell {r['cell']}: {str(r['what']).replace('_', ' ')} ({r['severity']}), {r['count']} times" for r in rows
    ]
    return Finding(
        text="\n".join(lines), data=data | {"cell": cell}, focus={"cell": cell if cell is not None else rows[0]["cell"]}
    )


def list_goals(room: ControlRoom) -> Finding:
    """The goals that planning heeds now."""
    goals = room.goals()
    data: dict[str, object] = {"goals": [goal_document(goal) for goal in goals], "num_goals": len(goals)}
    if not goals:
        return Finding(text="No goals are set; the slices' own promises count.", data=data)
    lines = [f"{len(goals)} goals are set:" if len(goals) > 1 else "1 goal is set:"]
    names = {profile.id: profile.name for profile in room.topology.slices}
    for goal in goals:
        for e in goal.expectations:
            whom = ", ".join(names[s] for s in e.slices) or "all slices"
            where = f" in cell {', '.join(map(str, e.cells))}" if e.cells else ""
            lines.append(f"- {e.metric.value} {e.value:g} for {whom}{where} ({e.context.value.replace('_', ' ')})")
    return Finding(text="\n".join(lines), data=data)


def write_report(room: ControlRoom) -> Finding:
    """The whole session in one text: status, history, incidents and goals."""
    parts = (network_status(room), find_worst(room), show_history(room), search_incidents(room), list_goals(room))
    titles = ("status", "worst", "history", "incidents", "goals")
    text = "\n\n".join(part.text for part in parts)
    return Finding(
        text=text, data={title: part.data for title, part in zip(titles, parts, strict=True)}, focus=parts[1].focus
    )


def _network_overview(room: ControlRoom) -> Finding:
    latest = room.latest
    rows = [_slice_row(room.topology, latest, profile) for profile in room.topology.slices]
    misses = [row for row in rows if not row["is_met"]]
    worst = min(zip(latest.utility, latest.digests, strict=True), key=lambda pair: pair[0])[1].cell
    data: dict[str, object] = {
        "time_s": room.now_s,
        "utility_pct": percent(latest.mean_utility),
        "num_cells": len(latest.digests),
        "num_slices": len(rows),
        "num_missing": len(misses),
        "version": room.gate.desired.version,
        "worst_cell": worst,
        "slices": rows,
        "cells": [
            {"cell": d.cell, "utility_pct": percent(u), "prb_used_pct": percent(d.prb_used / d.num_prb)}
            for d, u in zip(latest.digests, latest.utility, strict=True)
        ],
    }
    head = (
        f"All {len(rows)} slices meet their targets"
        if not misses
        else f"{len(misses)} of {len(rows)} slices miss their target: {', '.join(str(r['slice']) for r in misses)}"
    )
    lines = [f"{head}; utility {data['utility_pct']:g} % over {data['num_cells']} cells, worst is cell {worst}."]
    lines += [_slice_line(row) for row in rows]
    lines.append(f"Version {room.gate.desired.version} is in force at {room.now_s:g} s.")
    return Finding(text="\n".join(lines), data=data, focus={"cell": worst})


def _cell_status(room: ControlRoom, cell: int) -> Finding:
    digest, terms, utility = _of_cell(room.latest, cell)
    rows = [_cell_row(room.topology, digest, row) for row in range(len(digest.slices))]
    data: dict[str, object] = {
        "cell": cell,
        "utility_pct": percent(utility),
        "prb_used_pct": percent(digest.prb_used / digest.num_prb),
        "edge_pct": percent(digest.edge_utilisation),
        "is_up": digest.is_up,
        "num_anomalies": len(digest.anomalies),
        "slices": rows,
    }
    del terms
    state = "is up" if digest.is_up else "is DOWN"
    lines = [
        (
            f"Cell {cell} {state}: utility {data['utility_pct']:g} %, PRBs {data['prb_used_pct']:g} % used, "
            f"edge CPU {data['edge_pct']:g} % busy."
        )
    ]
    lines += [_slice_line(row) for row in rows]
    lines += [f"- anomaly: {a.kind.value} ({a.severity.value})" for a in digest.anomalies[:3]]
    return Finding(text="\n".join(lines), data=data, focus={"cell": cell})


def _slice_status(room: ControlRoom, profile: SliceProfile, cell: int | None) -> Finding:
    latest = room.latest
    index = room.topology.slice_index(profile.id)
    if cell is not None:
        digest, _, _ = _of_cell(latest, cell)
        row = _cell_row(room.topology, digest, index)
        return Finding(text=_slice_line(row, f" in cell {cell}"), data=row, focus={"cell": cell, "slice": profile.name})
    row = _slice_row(room.topology, latest, profile)
    cells = [_cell_row(room.topology, digest, index) for digest in latest.digests]
    cells.sort(key=lambda r: float(str(r["in_time_pct"])))
    lines = [_slice_line(row)]
    lines += [
        f"- cell {r['cell']}: {r['in_time_pct']:g} % in time, p95 {r['delay_p95_ms']:g} ms" for r in cells[:_SHOWN]
    ]
    return Finding(text="\n".join(lines), data=row | {"cells": cells}, focus={"slice": profile.name})


def _worst_cell(room: ControlRoom) -> Finding:
    latest = room.latest
    ranked = sorted(zip(latest.utility, latest.digests, latest.terms, strict=True), key=lambda entry: entry[0])
    utility, digest, terms = ranked[0]
    losses = _losses(digest, terms)
    index = max(range(len(losses)), key=losses.__getitem__)
    row = _cell_row(room.topology, digest, index)
    ranking = [{"cell": d.cell, "utility_pct": percent(u)} for u, d, _ in ranked[:_SHOWN]]
    data: dict[str, object] = {
        "cell": digest.cell,
        "utility_pct": percent(utility),
        "prb_used_pct": percent(digest.prb_used / digest.num_prb),
        "edge_pct": percent(digest.edge_utilisation),
        "loss_pct": percent(losses[index]),
        "slice": row,
        "anomalies": [{"kind": a.kind.value, "severity": a.severity.value} for a in digest.anomalies[:3]],
        "ranking": ranking,
    }
    lines = [
        (
            f"Cell {digest.cell} is worst: utility {data['utility_pct']:g} %, mostly because of {row['slice']} "
            f"(costs {data['loss_pct']:g} points)."
        ),
        _slice_line(row),
        f"- PRBs {data['prb_used_pct']:g} % used, edge CPU {data['edge_pct']:g} % busy",
    ]
    lines += [f"- anomaly: {a.kind.value} ({a.severity.value})" for a in digest.anomalies[:3]]
    lines.append("Cells from worst: " + ", ".join(f"{r['cell']} ({r['utility_pct']:g} %)" for r in ranking))
    return Finding(text="\n".join(lines), data=data, focus={"cell": digest.cell, "slice": row["slice"]})


def _worst_slice(room: ControlRoom) -> Finding:
    rows = [_slice_row(room.topology, room.latest, profile) for profile in room.topology.slices]
    rows.sort(key=lambda r: float(str(r["in_time_pct"])) - float(str(r["in_time_target_pct"])))
    verb = "furthest below its target" if not rows[0]["is_met"] else "nearest to its target, which it meets"
    lines = [f"{rows[0]['slice']} is {verb}."] + [_slice_line(row) for row in rows]
    return Finding(text="\n".join(lines), data={"slices": rows}, focus={"slice": rows[0]["slice"]})


def _losses(digest: EdgeDigest, terms: GoalTerms) -> list[float]:
    """What each slice costs of the cell's utility, 0-1."""
    import numpy as np

    in_time = np.array([row.in_time_ratio for row in digest.slices])
    tasks = np.array([row.tasks_in_time_ratio for row in digest.slices])
    has_tasks = np.array([float(row.tasks_per_s > 0) for row in digest.slices])
    worth = slice_worth(in_time, tasks, has_tasks, terms)
    best = slice_worth(np.ones_like(in_time), np.ones_like(tasks), has_tasks, terms)
    return [float(x) for x in (best - worth) / terms.weight.sum()]


def _promise(profile: SliceProfile) -> dict[str, object]:
    return {
        "slice": profile.name,
        "id": str(profile.id),
        "delay_budget_ms": profile.delay_budget_ms,
        "in_time_target_pct": percent(profile.in_time_target),
        "weight": profile.weight,
    }


def _cell_row(topology: Topology, digest: EdgeDigest, index: int) -> dict[str, object]:
    return _row(topology.slices[index], [digest.slices[index]]) | {"cell": digest.cell}


def _slice_row(topology: Topology, interval: Interval, profile: SliceProfile) -> dict[str, object]:
    index = topology.slice_index(profile.id)
    return _row(profile, [digest.slices[index] for digest in interval.digests])


def _row(profile: SliceProfile, parts: list[SliceDigest]) -> dict[str, object]:
    demand = sum(part.demand_kbps for part in parts)
    ratio = sum(p.in_time_ratio * p.demand_kbps for p in parts) / demand if demand else 1.0
    return {
        "slice": profile.name,
        "in_time_pct": percent(ratio),
        "in_time_target_pct": percent(profile.in_time_target),
        "is_met": ratio >= profile.in_time_target,
        "delay_p95_ms": round(max(part.delay_p95_ms for part in parts), 1),
        "delay_budget_ms": profile.delay_budget_ms,
        "demand_mbps": round(demand / 1000.0, 1),
        "num_devices": sum(part.num_devices for part in parts),
    }


def _slice_line(row: dict[str, object], where: str = "") -> str:
    sign = "meets" if row["is_met"] else "misses"
    return (
        f"- {row['slice']}{where} {sign} its target: {row['in_time_pct']:g} % in time (target "
        f"{row['in_time_target_pct']:g} %), delivered p95 {row['delay_p95_ms']:g} of {row['delay_budget_ms']:g} ms, "
        f"{row['demand_mbps']:g} Mb/s from {row['num_devices']} devices"
    )


def _of_cell(interval: Interval, cell: int) -> tuple[EdgeDigest, GoalTerms, float]:
    return next(
        (d, t, u) for d, t, u in zip(interval.digests, interval.terms, interval.utility, strict=True) if d.cell == cell
    )


def _measure(interval: Interval, cell: int | None, profile: SliceProfile | None) -> float:
    chosen = [(d, u) for d, u in zip(interval.digests, interval.utility, strict=True) if cell is None or d.cell == cell]
    if profile is None:
        return sum(u for _, u in chosen) / len(chosen)
    rows = [row for d, _ in chosen for row in d.slices if row.slice == profile.id]
    demand = sum(row.demand_kbps for row in rows)
    return sum(row.in_time_ratio * row.demand_kbps for row in rows) / demand if demand else 1.0


def _focus(cell: int | None, profile: SliceProfile | None) -> dict[str, object]:
    found: dict[str, object] = {} if cell is None else {"cell": cell}
    return found if profile is None else found | {"slice": profile.name}

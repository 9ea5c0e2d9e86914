"""Tools that look: status, the worst cell or slice, topology, history, incidents, goals, report."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import TYPE_CHECKING

from agent.control_room import ControlRoom, goal_document
from agent.store.decisions import count_decisions
from agent.store.policies import list_policies
from agent.tools.finding import Finding, percent, require_cell, require_slice, sparkline
from agent.tools.goal_words import describe_expectation, told_value
from agent.tools.seen import latest_interval, seen_intervals
from agent.tools.slice_rows import cell_table, slice_load, slice_row, slice_sentence, slice_table, trend
from agent.utility import slice_worth

if TYPE_CHECKING:
    from agent.control_room import Interval
    from agent.goal import GoalTerms
    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.topology import SliceProfile

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
        } | _in_use(room, site.id)
        near = ", ".join(map(str, site.neighbours)) or "none"
        text = (
            f"Cell {site.id} has neighbours {near}, and {data['num_devices']} devices.\n"
            f"{site.num_prb} PRBs in {site.bandwidth_mhz:g} MHz, {data['prb_used_pct']:g} % used; edge CPU "
            f"{site.edge_cpu_ghz:g} GHz, {data['edge_pct']:g} % busy; backhaul {site.backhaul_mbps:g} Mb/s."
        )
        return Finding(text=text, data=data, focus={"cell": site.id})
    slices = [_promise(profile) for profile in topology.slices]
    cells = [site.id for site in topology.cells]
    num_devices = sum(row.num_devices for digest in latest_interval(room).digests for row in digest.slices)
    lines = [f"{len(cells)} cells ({', '.join(map(str, cells[:20]))}), {len(slices)} slices and {num_devices} devices."]
    lines += [
        f"- {s['slice']}: {s['in_time_target_pct']:g} % within {s['delay_budget_ms']:g} ms, weight {s['weight']:g}"
        for s in slices
    ]
    return Finding(
        text="\n".join(lines),
        data={"num_cells": len(cells), "cells": cells, "num_slices": len(slices), "slices": slices}
        | {"num_devices": num_devices},
    )


def show_history(room: ControlRoom, *, cell: int | None = None, slice: str | None = None) -> Finding:  # noqa: A002 - the operator's word
    """How utility, or a slice's in-time ratio, went over the last intervals, and which policies were kept."""
    profile = None if slice is None else require_slice(room.topology, slice)
    seen = seen_intervals(room, cell)
    values = [percent(_measure(interval, profile)) for interval in seen][-40:]
    what = "utility" if profile is None else f"{profile.name} in time"
    where = "" if cell is None else f" of cell {cell}"
    kept = room.store.read(lambda connection: list_policies(connection, limit=_SHOWN))
    versions = [{"version": k.policy.version, "planner": k.policy.planner, "status": k.status.value} for k in kept]
    decisions = room.store.read(count_decisions)
    data: dict[str, object] = {"series_pct": values, "versions": versions, "num_decisions": decisions}
    data |= {"num_intervals": len(values), "version_in_force": room.gate.desired.version}
    under = _by_version(seen, profile)
    data["by_version"] = under
    on_record = "1 decision is" if decisions == 1 else f"{decisions} decisions are"
    span = f"{values[0]:g} % to {values[-1]:g} % over {len(values)} intervals"
    text = f"{what.capitalize()}{where}: {span}  {sparkline(values)}"
    lines = [
        text,
        f"Version {room.gate.desired.version} is in force; {on_record} on record.",
    ]
    told = {row["version"]: f"{row['mean_pct']:g} % on average over {row['num_intervals']} intervals" for row in under}
    lines += [
        f"- version {v['version']} ({v['planner']}): {v['status']}"
        + (f"; {told.pop(v['version'])}" if v["version"] in told else "")
        for v in versions
    ]
    lines += [f"- version {version}{'' if version else ' (as it was)'}: {said}" for version, said in told.items()]
    return Finding(text="\n".join(lines), data=data, focus=_focus(cell, profile))


def search_incidents(room: ControlRoom, *, cell: int | None = None) -> Finding:
    """Anomalies and log events of the intervals seen so far, the most frequent first."""
    seen = seen_intervals(room, cell)
    found: Counter[tuple[int, str, str]] = Counter()
    last_s: dict[tuple[int, str, str], float] = {}
    for digest in (digest for interval in seen for digest in interval.digests):
        incidents = [((digest.cell, a.kind.value, a.severity.value), 1) for a in digest.anomalies]
        incidents += [((digest.cell, event.name, "event"), event.count) for event in digest.events]
        for incident, count in incidents:
            found[incident] += count
            last_s[incident] = digest.end_s
    rows = [
        {"cell": key[0], "what": key[1], "severity": key[2], "count": count, "last_s": last_s[key]}
        for key, count in found.most_common(_SHOWN)
    ]
    data: dict[str, object] = {"num_intervals": len(seen), "num_kinds": len(found), "incidents": rows}
    if not rows:
        place = "" if cell is None else f" at cell {cell}"
        text = f"No incidents{place} in the last {len(seen)} intervals."
        return Finding(text=text, data=data | {"cell": cell}, focus=_focus(cell, None))
    kinds = "1 kind" if len(found) == 1 else f"{len(found)} kinds"
    lines = [f"{kinds} of incident in the last {len(seen)} intervals, the most frequent first:"]
    lines += [
        f"- cell {r['cell']}: {str(r['what']).replace('_', ' ')} ({r['severity']}), "
        f"{'once' if r['count'] == 1 else str(r['count']) + ' times, last'} in the interval to {r['last_s']:g} s"
        for r in rows
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
    wanted = [expectation for goal in goals for expectation in goal.expectations]
    data["values"] = [told_value(expectation) for expectation in wanted]
    lines = [f"{len(goals)} goals are set:" if len(goals) > 1 else "1 goal is set:"]
    for goal in goals:
        asked = room.changes.asked(goal)
        origin = f" (asked over A1-P: {asked})" if asked else ""
        lines += [f"- {describe_expectation(room.topology, each)}{origin}" for each in goal.expectations]
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
    latest = latest_interval(room)
    rows = [slice_row(room, profile) for profile in room.topology.slices]
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
    lines += slice_table(rows)
    lines.append(f"Version {room.gate.desired.version} is in force at {room.now_s:g} s.")
    return Finding(text="\n".join(lines), data=data, focus={"cell": worst})


def _cell_status(room: ControlRoom, cell: int) -> Finding:
    seen = latest_interval(room, cell)
    digest = seen.digests[0]
    rows = [slice_row(room, profile, cell) for profile in room.topology.slices]
    misses = [str(row["slice"]) for row in rows if not row["is_met"]]
    data: dict[str, object] = {
        "cell": cell,
        "utility_pct": percent(seen.utility[0]),
        "prb_used_pct": percent(digest.prb_used / digest.num_prb),
        "edge_pct": percent(digest.edge_utilisation),
        "demand_mbps": round(sum(row.demand_kbps for row in digest.slices) / 1000.0, 1),
        "served_mbps": round(sum(row.served_kbps for row in digest.slices) / 1000.0, 1),
        "is_up": digest.is_up,
        "num_anomalies": len(digest.anomalies),
        "slices": rows,
    }
    state = "is up" if digest.is_up else "is DOWN"
    fate = f"missed target: {', '.join(misses)}" if misses else "all targets met"
    lines = [
        (
            f"Cell {cell} {state}, {fate}; utility {data['utility_pct']:g} %, {data['served_mbps']:g} of "
            f"{data['demand_mbps']:g} Mb/s delivered, PRBs {data['prb_used_pct']:g} % used, edge CPU "
            f"{data['edge_pct']:g} % busy."
        )
    ]
    lines += slice_table(rows)
    lines += [f"- anomaly: {a.kind.value} ({a.severity.value})" for a in digest.anomalies[:3]]
    return Finding(text="\n".join(lines), data=data, focus={"cell": cell})


def _slice_status(room: ControlRoom, profile: SliceProfile, cell: int | None) -> Finding:
    if cell is not None:
        return _slice_in_cell(room, profile, cell)
    row = slice_row(room, profile) | {"qos_identifier": f"5QI {profile.five_qi}"}
    cells = [slice_row(room, profile, digest.cell) for digest in room.latest.digests]
    cells.sort(key=lambda r: float(str(r["in_time_pct"])))
    lines = [slice_sentence(row), slice_load(row), f"- {row['qos_identifier']}", *cell_table(cells[:_SHOWN])]
    return Finding(text="\n".join(lines), data=row | {"cells": cells}, focus={"slice": profile.name})


def _slice_in_cell(room: ControlRoom, profile: SliceProfile, cell: int) -> Finding:
    """With what it is granted there and how busy the cell is: the evidence for a `why`."""
    digest = latest_interval(room, cell).digests[0]
    plan = room.plan_in_force(cell).slices[room.topology.slice_index(profile.id)]
    row = _in_use(room, cell) | slice_row(room, profile, cell)
    row |= {"guaranteed_pct": plan.min_pct, "scheduler": plan.scheduler.value}
    lines = [
        slice_sentence(row, f" in cell {cell}"),
        slice_load(row),
        f"- {plan.min_pct} % of the PRBs are guaranteed to it, scheduler {row['scheduler']}",
        f"- the cell uses {row['prb_used_pct']:g} % of its PRBs and {row['edge_pct']:g} % of its edge CPU",
        f"- in time, interval by interval: {trend(row)}",
    ]
    lines += [f"- anomaly: {a.kind.value} ({a.severity.value})" for a in digest.anomalies[:3]]
    return Finding(text="\n".join(lines), data=row, focus={"cell": cell, "slice": profile.name})


def _worst_cell(room: ControlRoom) -> Finding:
    latest = latest_interval(room)
    ranked = sorted(zip(latest.utility, latest.digests, latest.terms, strict=True), key=lambda entry: entry[0])
    utility, digest, terms = ranked[0]
    losses = _losses(digest, terms)
    index = max(range(len(losses)), key=losses.__getitem__)
    row = slice_row(room, room.topology.slices[index], digest.cell)
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
        f"- {slice_sentence(row)}",
        slice_load(row),
        f"- PRBs {data['prb_used_pct']:g} % used, edge CPU {data['edge_pct']:g} % busy",
    ]
    lines += [f"- anomaly: {a.kind.value} ({a.severity.value})" for a in digest.anomalies[:3]]
    lines.append("Cells from worst: " + ", ".join(f"{r['cell']} ({r['utility_pct']:g} %)" for r in ranking))
    return Finding(text="\n".join(lines), data=data, focus={"cell": digest.cell, "slice": row["slice"]})


def _worst_slice(room: ControlRoom) -> Finding:
    rows = [slice_row(room, profile) for profile in room.topology.slices]
    rows.sort(key=lambda r: float(str(r["in_time_pct"])) - float(str(r["in_time_target_pct"])))
    verb = "furthest below its target" if not rows[0]["is_met"] else "nearest to its target, which it meets"
    lines = [f"Slice {rows[0]['slice']} is {verb}.", *slice_table(rows)]
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


def _in_use(room: ControlRoom, cell: int) -> dict[str, object]:
    """How much of a cell is used, and by how many devices."""
    digest = latest_interval(room, cell).digests[0]
    return {
        "num_devices": sum(row.num_devices for row in digest.slices),
        "prb_used_pct": percent(digest.prb_used / digest.num_prb),
        "edge_pct": percent(digest.edge_utilisation),
    }


def _by_version(seen: list[Interval], profile: SliceProfile | None) -> list[dict[str, object]]:
    """The mean under each version that was in force, the newest first."""
    under: dict[int, list[float]] = {}
    for interval in seen:
        under.setdefault(interval.version, []).append(_measure(interval, profile))
    return [
        {"version": version, "num_intervals": len(values), "mean_pct": percent(fmean(values))}
        for version, values in sorted(under.items(), reverse=True)
    ]


def _measure(interval: Interval, profile: SliceProfile | None) -> float:
    if profile is None:
        return sum(interval.utility) / len(interval.utility)
    rows = [row for digest in interval.digests for row in digest.slices if row.slice == profile.id]
    demand = sum(row.demand_kbps for row in rows)
    return sum(row.in_time_ratio * row.demand_kbps for row in rows) / demand if demand else 1.0


def _focus(cell: int | None, profile: SliceProfile | None) -> dict[str, object]:
    found: dict[str, object] = {} if cell is None else {"cell": cell}
    return found if profile is None else found | {"slice": profile.name}

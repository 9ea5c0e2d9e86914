"""Tools that think ahead: propose, explain, compare, and ask the twin what would happen."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import TYPE_CHECKING

from agent.cell_plan import CellPlan, largest_remainder
from agent.control_room import ControlRoom, Proposal, examination_document, plan_of
from agent.errors import AgentInputInvalid
from agent.planner import baseline_planners
from agent.policy import REASON_WORDS
from agent.tools.change_rows import change_rows
from agent.tools.finding import Finding, percent, require_slice
from agent.tools.lost_guarantees import lost_guarantees
from agent.tools.seen import latest_interval
from telemetry_sim.actions import ControlAction, SliceAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.goal import GoalTerms
    from agent.policy import SchedulingPolicy
    from edge_preprocess.digest import EdgeDigest

_SHOWN, _SHOWN_BRIEFLY = 60, 5
"""Cells and slices of a diff."""
_SHOWN_CHANGES = 80
"""Single settings beside a proposal; enough for the cells and slices told briefly."""
_MOST_FACTOR = 20.0


def propose_plan(room: ControlRoom) -> Finding:
    """A new policy for the whole network under the goals of now; nothing is sent."""
    # Nothing is planned, nor noted in the store, for cells that nobody hears.
    latest_interval(room)
    proposal = room.propose()
    changes = changes_of(room, proposal.policy.actions)
    lost = lost_guarantees(room, proposal.policy.actions, room.latest.digests)
    found = room.examine(proposal.policy)
    sources = [decided.source.value for decided in proposal.decision.cells]
    data: dict[str, object] = {
        "version": proposal.policy.version,
        "planner": proposal.policy.planner,
        "hash": proposal.policy.content_hash(),
        "utility_now_pct": percent(proposal.utility_now),
        "utility_then_pct": percent(proposal.utility_then),
        "num_changes": len(changes),
        "num_cells": len(sources),
        "sources": {source: sources.count(source) for source in dict.fromkeys(sources)},
        "reasons": [reason.value for reason in proposal.policy.rationale],
        "lost_guarantees": [each.document() for each in lost[:_SHOWN]],
        "gate": examination_document(found),
        "changes": changes[:_SHOWN_CHANGES],
    }
    verdict = "it passes the gate's checks" if found.refusal is None else f"the gate would refuse it: {found.refusal}"
    lines = [
        (
            f"Plan version {data['version']} by {data['planner']}: utility {data['utility_now_pct']:g} % now, "
            f"{data['utility_then_pct']:g} % expected."
        ),
        f"It makes {len(changes)} changes at {data['gate']['risk']} risk; {verdict}.",  # type: ignore[index]  # a dict
        f"Reasons: {_reasons(proposal.policy)}.",
    ]
    lines += [f"- {each.told()}" for each in lost[:_SHOWN_BRIEFLY]]
    if len(lost) > _SHOWN_BRIEFLY:
        lines.append(f"- and {len(lost) - _SHOWN_BRIEFLY} more slices no longer have a guarantee")
    lines += [f"- {where}: {what}" for where, what in change_rows(changes)[:_SHOWN_BRIEFLY]]
    return Finding(text="\n".join(lines), data=data, focus={"plan": proposal.policy.version})


def show_diff(room: ControlRoom, *, version: int | None = None) -> Finding:
    """What the proposal, or a version, would change of what is in force."""
    policy = room.find(version)
    changes = changes_of(room, policy.actions)
    data: dict[str, object] = {
        "version": policy.version,
        "in_force": room.gate.desired.version,
        "num_changes": len(changes),
        "changes": changes,
    }
    rows = change_rows(changes)
    lines = [f"Version {policy.version} changes {len(changes)} settings of version {room.gate.desired.version}."]
    lines += [f"- {where}: {what}" for where, what in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        data["num_left_out"] = len(rows) - _SHOWN
        lines.append(f"- and {data['num_left_out']} more cells and slices")
    return Finding(text="\n".join(lines), data=data, focus={"plan": policy.version})


def explain_decision(room: ControlRoom, *, cell: int | None = None) -> Finding:
    """Why the last proposal is what it is: who wrote it, what it saw, what the twin expects."""
    digests = {digest.cell: digest for digest in latest_interval(room, cell).digests}
    is_new = room.proposal is None
    proposal = room.proposal or room.propose()
    wanted = [decided for decided in proposal.decision.cells if decided.cell in digests]
    if cell is not None and not wanted:
        version = proposal.policy.version
        raise AgentInputInvalid(f"cell {cell} had no digest when version {version} was proposed; ask for a new plan")
    rows = [_explained(room, proposal, decided.cell, digests[decided.cell]) for decided in wanted]
    lost = lost_guarantees(room, proposal.policy.actions, [digests[decided.cell] for decided in wanted])
    data: dict[str, object] = {
        "version": proposal.policy.version,
        "planner": proposal.policy.planner,
        "decision": proposal.decision_id,
        "reasons": [reason.value for reason in proposal.policy.rationale],
        "cells": rows,
        "lost_guarantees": [each.document() for each in lost[:_SHOWN]],
    }
    lines = [
        (
            f"Version {proposal.policy.version} was decided by {proposal.policy.planner}"
            f"{' just now, since nothing was proposed yet' if is_new else ''}: {_reasons(proposal.policy)} "
            f"(decision {proposal.decision_id} in the store)."
        )
    ]
    for row in rows[:4]:
        lines.append(
            f"- cell {row['cell']} ({row['source']}): the twin expects {row['utility_then_pct']:g} % instead of "
            f"{row['utility_now_pct']:g} %{', with one pool for all slices' if row['is_pool'] else ''}"
        )
        lines += [
            f"  - {s['slice']}: {s['share_now_pct']:g} to {s['share_then_pct']:g} % of the PRBs, "
            f"{s['demand_mbps']:g} Mb/s asked, {s['in_time_pct']:g} % in time"
            for s in row["slices"]  # type: ignore[attr-defined]  # a list of dicts
        ]
        lines += [f"  - {each.told()}" for each in lost if each.cell == row["cell"]]
    focus: dict[str, object] = {"plan": proposal.policy.version}
    if cell is not None:
        focus["cell"] = cell
    return Finding(text="\n".join(lines), data=data, focus=focus)


def compare_planners(room: ControlRoom, *, cell: int | None = None) -> Finding:
    """What each planner would reach in the twin, on the same digests and goals."""
    wanted = {digest.cell for digest in latest_interval(room, cell).digests}
    digests = room.latest.digests
    terms = room.terms(digests)
    planners = {planner.name: planner for planner in (room.planner, *baseline_planners())}
    decisions = [room.decide(planner).cells for planner in planners.values()]
    worth = [
        room.twin.outlook(digest, term).utilities([one.plan or room.plan_in_force(one.cell) for one in decided])
        for digest, term, decided in zip(digests, terms, zip(*decisions, strict=True), strict=True)
        if digest.cell in wanted
    ]
    rows = [
        {"planner": name, "utility_pct": percent(fmean(map(float, found)))}
        for name, found in zip(planners, zip(*worth, strict=True), strict=True)
    ]
    rows.sort(key=lambda row: -float(str(row["utility_pct"])))
    where = "" if cell is None else f" for cell {cell}"
    lines = [f"{rows[0]['planner']} does best in the twin{where}: utility {rows[0]['utility_pct']:g} %."]
    lines += [f"- {row['planner']}: {row['utility_pct']:g} %" for row in rows]
    data: dict[str, object] = {"cell": cell, "planners": rows}
    return Finding(text="\n".join(lines), data=data, focus={} if cell is None else {"cell": cell})


def what_if_down(room: ControlRoom, *, cell: int) -> Finding:
    """A cell's outage in the twin: its load goes to its neighbours, under the plan in force."""
    lost = latest_interval(room, cell).digests[0]
    site = next(s for s in room.topology.cells if s.id == cell)
    digests = {digest.cell: digest for digest in room.latest.digests if digest.cell != cell}
    heirs = [n for n in site.neighbours if n in digests and digests[n].is_up]
    loaded = tuple(_with_load_of(d, lost, len(heirs)) if d.cell in heirs else d for d in digests.values())
    rows = _twin_rows(room, tuple(digests.values()), loaded)
    before, after = fmean([r["now"] for r in rows] or [0.0]), fmean([r["then"] for r in rows] or [0.0])
    shown = [{"cell": r["cell"], "now_pct": percent(r["now"]), "then_pct": percent(r["then"])} for r in rows]
    shown.sort(key=lambda row: row["then_pct"] - row["now_pct"])
    data: dict[str, object] = {
        "cell": cell,
        "heirs": heirs,
        "num_devices": sum(row.num_devices for row in lost.slices),
        "utility_now_pct": percent(before),
        "utility_then_pct": percent(after),
        "cells": shown,
    }
    near = ", ".join(map(str, heirs)) or "nobody"
    lines = [
        (
            f"If cell {cell} went down, the other cells' utility would go from {data['utility_now_pct']:g} % to "
            f"{data['utility_then_pct']:g} % in the twin."
        ),
        f"Its {data['num_devices']} devices would move to cell {near}, or find no service where none is in reach.",
    ]
    lines += [f"- cell {r['cell']}: {r['now_pct']:g} % to {r['then_pct']:g} %" for r in shown[:6]]
    return Finding(text="\n".join(lines), data=data, focus={"cell": cell})


def what_if_demand(
    room: ControlRoom,
    *,
    slice: str,  # noqa: A002 - the operator's word
    change: str = "times",
    value: float,
    cell: int | None = None,
) -> Finding:
    """Another demand of a slice in the twin; `change` is times, up_pct or down_pct."""
    profile = require_slice(room.topology, slice)
    before = latest_interval(room, cell).digests
    factor = {"times": value, "up_pct": 1.0 + value / 100.0, "down_pct": 1.0 - value / 100.0}.get(change)
    if factor is None or not 0.0 <= factor <= _MOST_FACTOR:
        raise AgentInputInvalid(f"demand {change} {value:g}: a factor of 0 to {_MOST_FACTOR:g} is needed")
    index = room.topology.slice_index(profile.id)
    after = tuple(_with_demand(digest, index, factor) for digest in before)
    rows = _twin_rows(room, before, after)
    in_time = [_expected(room, d, index) for d in after]
    was_in_time = [_expected(room, d, index) for d in before]
    data: dict[str, object] = {
        "slice": profile.name,
        "cell": cell,
        "factor": round(factor, 3),
        "value": value,
        "utility_now_pct": percent(fmean(r["now"] for r in rows)),
        "utility_then_pct": percent(fmean(r["then"] for r in rows)),
        "in_time_now_pct": percent(fmean(was_in_time)),
        "in_time_then_pct": percent(fmean(in_time)),
        "in_time_target_pct": percent(profile.in_time_target),
    }
    where, whose = _of_cell(cell)
    text = (
        f"With {data['factor']:g} times the {profile.name} demand{where}, {whose} would go from "
        f"{data['utility_now_pct']:g} % to {data['utility_then_pct']:g} % in the twin.\n"
        f"{_in_time_line(data)}"
    )
    return Finding(text=text, data=data, focus=_focus(cell, profile.name))


def what_if_share(room: ControlRoom, *, slice: str, value: float, cell: int | None = None) -> Finding:  # noqa: A002 - the operator's word
    """Another guaranteed share of a slice in the twin, the others scaled to fit."""
    profile = require_slice(room.topology, slice)
    if not 0 <= value <= 100:
        raise AgentInputInvalid(f"share {value:g} %: 0 to 100 is allowed")
    seen = latest_interval(room, cell)
    index = room.topology.slice_index(profile.id)
    now, then, was_in_time, in_time = [], [], [], []
    for digest, term in zip(seen.digests, seen.terms, strict=True):
        current = room.plan_in_force(digest.cell)
        other = _with_share(current, index, round(value))
        now.append(room.twin.utility(current, digest, term))
        then.append(room.twin.utility(other, digest, term))
        was_in_time.append(float(room.twin.expected_in_time(current, digest, term)[index]))
        in_time.append(float(room.twin.expected_in_time(other, digest, term)[index]))
    data: dict[str, object] = {
        "slice": profile.name,
        "cell": cell,
        "share_pct": round(value),
        "utility_now_pct": percent(fmean(now)),
        "utility_then_pct": percent(fmean(then)),
        "in_time_now_pct": percent(fmean(was_in_time)),
        "in_time_then_pct": percent(fmean(in_time)),
        "in_time_target_pct": percent(profile.in_time_target),
    }
    where, whose = _of_cell(cell)
    text = (
        f"With {data['share_pct']} % of the PRBs for {profile.name}{where}, {whose} would go from "
        f"{data['utility_now_pct']:g} % to {data['utility_then_pct']:g} % in the twin.\n"
        f"{_in_time_line(data)}"
    )
    return Finding(text=text, data=data, focus=_focus(cell, profile.name))


def changes_of(room: ControlRoom, actions: Sequence[ControlAction]) -> list[dict[str, object]]:
    """What the actions would change, field by field."""
    names = {profile.id: profile.name for profile in room.topology.slices}
    desired = room.gate.desired
    after = desired.after(actions, version=desired.version + 1)
    changes: list[dict[str, object]] = []
    for target, action in after.actions.items():
        before = desired.actions.get(target)
        old = {} if before is None else before.model_dump(mode="json")
        for name, value in action.model_dump(mode="json").items():
            if name not in ("kind", "cell", "slice") and old.get(name) != value:
                slice_name = names[action.slice] if isinstance(action, SliceAction) else None
                changes.append(
                    {"cell": target[0], "slice": slice_name, "field": name, "from": old.get(name), "to": value}
                )
    return changes


def describe_policy(room: ControlRoom, policy: SchedulingPolicy) -> dict[str, object]:
    """What a person must see before saying yes: the resolved diff, the forecast and the risk."""
    found = room.examine(policy)
    forecast: dict[str, object] = {}
    if room.proposal is not None and room.proposal.policy == policy:
        forecast = {
            "utility_now_pct": percent(room.proposal.utility_now),
            "utility_then_pct": percent(room.proposal.utility_then),
        }
    return {
        "version": policy.version,
        "hash": policy.content_hash(),
        "changes": changes_of(room, policy.actions),
        "forecast": forecast,
        "gate": examination_document(found),
    }


def describe_rollback(room: ControlRoom, to_version: int) -> dict[str, object]:
    """What a person must see before going back: the resolved diff and the forecast."""
    seen = latest_interval(room)
    actions = room.changes_back(to_version)
    desired = room.gate.desired
    after = desired.after(actions, version=desired.version + 1)
    now, then = [], []
    for digest, term in zip(seen.digests, seen.terms, strict=True):
        now.append(room.twin.utility(room.plan_in_force(digest.cell), digest, term))
        then.append(room.twin.utility(plan_of(digest.cell, after, room.topology), digest, term))
    return {
        "to_version": to_version,
        "from_version": desired.version,
        "changes": changes_of(room, actions),
        "forecast": {"utility_now_pct": percent(fmean(now)), "utility_then_pct": percent(fmean(then))},
    }


def _reasons(policy: SchedulingPolicy) -> str:
    return ", ".join(REASON_WORDS[reason] for reason in policy.rationale) or "no reason was given"


def _explained(room: ControlRoom, proposal: Proposal, cell: int, digest: EdgeDigest) -> dict[str, object]:
    decided = next(d for d in proposal.decision.cells if d.cell == cell)
    terms: GoalTerms = room.terms((digest,))[0]
    current = room.plan_in_force(cell)
    plan = decided.plan or current
    rows = [
        {
            "slice": profile.name,
            "share_now_pct": before.min_pct,
            "share_then_pct": after.min_pct,
            "demand_mbps": round(row.demand_kbps / 1000.0, 1),
            "in_time_pct": percent(row.in_time_ratio),
        }
        for profile, before, after, row in zip(
            room.topology.slices, current.slices, plan.slices, digest.slices, strict=True
        )
    ]
    return {
        "cell": cell,
        "source": decided.source.value,
        "note": decided.note,
        "repairs": list(decided.repairs),
        "utility_now_pct": percent(room.twin.utility(current, digest, terms)),
        "utility_then_pct": percent(room.twin.utility(plan, digest, terms)),
        "is_pool": not any(part.min_pct for part in plan.slices),
        "slices": rows,
    }


def _twin_rows(
    room: ControlRoom, before: tuple[EdgeDigest, ...], after: tuple[EdgeDigest, ...]
) -> list[dict[str, float]]:
    rows = []
    for old, new, term in zip(before, after, room.terms(before), strict=True):
        plan = room.plan_in_force(old.cell)
        now, then = room.twin.utility(plan, old, term), room.twin.utility(plan, new, term)
        rows.append({"cell": old.cell, "now": now, "then": then})
    return rows


def _expected(room: ControlRoom, digest: EdgeDigest, index: int) -> float:
    terms = room.terms((digest,))[0]
    return float(room.twin.expected_in_time(room.plan_in_force(digest.cell), digest, terms)[index])


def _with_demand(digest: EdgeDigest, index: int, factor: float) -> EdgeDigest:
    row = digest.slices[index]
    scaled = row.model_copy(
        update={
            "demand_kbps": row.demand_kbps * factor,
            "forecast_demand_kbps": row.forecast_demand_kbps * factor,
            "tasks_per_s": row.tasks_per_s * factor,
            "forecast_tasks_per_s": row.forecast_tasks_per_s * factor,
        }
    )
    return digest.model_copy(update={"slices": (*digest.slices[:index], scaled, *digest.slices[index + 1 :])})


def _with_load_of(digest: EdgeDigest, lost: EdgeDigest, num_heirs: int) -> EdgeDigest:
    """The digest with an equal part of a lost cell's demand."""
    for index, row in enumerate(lost.slices):
        own = digest.slices[index].forecast_demand_kbps
        added = row.forecast_demand_kbps / max(num_heirs, 1)
        digest = _with_demand(digest, index, 1.0 + added / own if own > 0 else 1.0)
    return digest


def _with_share(plan: CellPlan, index: int, share_pct: int) -> CellPlan:
    others = [part.min_pct for row, part in enumerate(plan.slices) if row != index]
    rest = iter(largest_remainder([float(x) for x in others], 100 - share_pct))
    parts = tuple(
        replace(part, min_pct=share_pct if row == index else next(rest)) for row, part in enumerate(plan.slices)
    )
    return replace(plan, slices=parts)


def _of_cell(cell: int | None) -> tuple[str, str]:
    """Where something is tried, and whose utility is told."""
    return ("", "utility") if cell is None else (f" in cell {cell}", f"cell {cell}'s utility")


def _in_time_line(data: dict[str, object]) -> str:
    return (
        f"- {data['slice']} in time: {data['in_time_now_pct']:g} % to {data['in_time_then_pct']:g} % "
        f"(target {data['in_time_target_pct']:g} %)"
    )


def _focus(cell: int | None, name: str) -> dict[str, object]:
    return {"slice": name} if cell is None else {"slice": name, "cell": cell}

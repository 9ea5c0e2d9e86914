"""Tools that think ahead: propose, explain and compare."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from agent.control_room import ControlRoom, examination_document, plan_of
from agent.errors import AgentInputInvalid
from agent.planner import baseline_planners
from agent.policy import REASON_WORDS
from agent.tools.change_rows import change_rows
from agent.tools.finding import Finding, percent
from agent.tools.lost_guarantees import lost_guarantees
from agent.tools.seen import latest_interval
from telemetry_sim.actions import ControlAction, SliceAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.dispatch.desired import DesiredState
    from agent.goal import GoalTerms
    from agent.planner import CellDecision
    from agent.policy import SchedulingPolicy
    from edge_preprocess.digest import EdgeDigest

_SHOWN, _SHOWN_BRIEFLY = 60, 5
"""Cells and slices of a diff."""
_SHOWN_CHANGES = 80
"""Single settings beside a proposal; enough for the cells and slices told briefly."""


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
    desired = room.gate.desired
    after = desired.after(proposal.policy.actions, version=desired.version + 1)
    rows = [_explained(room, decided, after, digests[decided.cell]) for decided in wanted]
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


def _explained(room: ControlRoom, decided: CellDecision, after: DesiredState, digest: EdgeDigest) -> dict[str, object]:
    """One cell's part of a proposal; `after` is the state that its policy would bring."""
    terms: GoalTerms = room.terms((digest,))[0]
    current = room.plan_in_force(decided.cell)
    plan = plan_of(decided.cell, after, room.topology)
    rows = [
        {
            "slice": profile.name,
            "share_now_pct": old.min_pct,
            "share_then_pct": new.min_pct,
            "demand_mbps": round(row.demand_kbps / 1000.0, 1),
            "in_time_pct": percent(row.in_time_ratio),
        }
        for profile, old, new, row in zip(room.topology.slices, current.slices, plan.slices, digest.slices, strict=True)
    ]
    return {
        "cell": decided.cell,
        "source": decided.source.value,
        "note": decided.note,
        "repairs": list(decided.repairs),
        "utility_now_pct": percent(room.twin.utility(current, digest, terms)),
        "utility_then_pct": percent(room.twin.utility(plan, digest, terms)),
        "is_pool": not any(part.min_pct for part in plan.slices),
        "slices": rows,
    }

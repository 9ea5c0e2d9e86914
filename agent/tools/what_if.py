"""Tools that ask the twin what would happen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from agent.cell_plan import CellPlan, largest_remainder
from agent.control_room import ControlRoom
from agent.errors import AgentInputInvalid
from agent.tools.finding import Finding, percent, require_slice
from agent.tools.seen import latest_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_preprocess.digest import EdgeDigest, SliceDigest
    from telemetry_sim.topology import SliceProfile

_MOST_FACTOR = 20.0
_HANDED_OVER = ("demand_kbps", "forecast_demand_kbps", "tasks_per_s", "forecast_tasks_per_s")
"""What the heirs of a lost cell take over, in equal parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A change to one slice, in one cell or all: pairs of what the twin expects now and then, one a cell."""

    profile: SliceProfile
    cell: int | None
    utilities: Sequence[tuple[float, float]]
    in_time: Sequence[tuple[float, float]]
    """Of the slice."""

    def finding(self, head: str, asked: dict[str, object], *more: str) -> Finding:
        """`head` is what was tried, as a sentence begins; `asked` its figures, also those of `more` lines."""
        now, then = (percent(fmean(side)) for side in zip(*self.utilities, strict=True))
        in_time_now, in_time_then = (percent(fmean(side)) for side in zip(*self.in_time, strict=True))
        target, name = percent(self.profile.in_time_target), self.profile.name
        data: dict[str, object] = {
            "slice": name,
            "cell": self.cell,
            **asked,
            "utility_now_pct": now,
            "utility_then_pct": then,
            "in_time_now_pct": in_time_now,
            "in_time_then_pct": in_time_then,
            "in_time_target_pct": target,
        }
        where, whose = (
            ("", "utility") if self.cell is None else (f" in cell {self.cell}", f"cell {self.cell}'s utility")
        )
        text = (
            f"{head}{where}, {whose} would go from {now:g} % to {then:g} % in the twin.\n"
            f"- {name} in time: {in_time_now:g} % to {in_time_then:g} % (target {target:g} %)"
        )
        focus: dict[str, object] = {"slice": name}
        if self.cell is not None:
            focus["cell"] = self.cell
        return Finding(text="\n".join((text, *more)), data=data, focus=focus)


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
    """Another demand of a slice in the twin; `change` is times, up_pct or down_pct (by), or to_pct (of now)."""
    profile = require_slice(room.topology, slice)
    before = latest_interval(room, cell).digests
    ratio = value / 100.0
    factor = {"times": value, "up_pct": 1.0 + ratio, "down_pct": 1.0 - ratio, "to_pct": ratio}.get(change)
    if factor is None or not 0.0 <= factor <= _MOST_FACTOR:
        raise AgentInputInvalid(f"demand {change} {value:g}: a factor of 0 to {_MOST_FACTOR:g} is needed")
    index = room.topology.slice_index(profile.id)
    after = tuple(_with_demand(digest, index, factor) for digest in before)
    tried = _Tried(
        profile=profile,
        cell=cell,
        utilities=[(row["now"], row["then"]) for row in _twin_rows(room, before, after)],
        in_time=[
            (_expected(room, old, index), _expected(room, new, index)) for old, new in zip(before, after, strict=True)
        ],
    )
    asked: dict[str, object] = {"factor": round(factor, 3), "value": value}
    return tried.finding(f"With {asked['factor']:g} times the {profile.name} demand", asked)


def what_if_share(room: ControlRoom, *, slice: str, value: float, cell: int | None = None) -> Finding:  # noqa: A002 - the operator's word
    """Another guaranteed share of a slice in the twin; the others keep theirs as far as these fit."""
    profile = require_slice(room.topology, slice)
    if not 0 <= value <= 100:
        raise AgentInputInvalid(f"share {value:g} %: 0 to 100 is allowed")
    seen, share_pct = latest_interval(room, cell), round(value)
    index = room.topology.slice_index(profile.id)
    utilities, in_time, num_cut, num_pools = [], [], 0, 0
    for digest, term in zip(seen.digests, seen.terms, strict=True):
        current = room.plan_in_force(digest.cell)
        other = _with_share(current, index, share_pct)
        num_cut += _others(other, index) != _others(current, index)
        num_pools += share_pct > 0 and not any(part.min_pct for part in current.slices)
        outlook = room.twin.outlook(digest, term)
        utilities.append((outlook.utility(current), outlook.utility(other)))
        now, then = (float(outlook.expected_in_time(plan)[index]) for plan in (current, other))
        in_time.append((now, then))
    tried = _Tried(profile=profile, cell=cell, utilities=utilities, in_time=in_time)
    rounded = "" if share_pct == value else f" (shares are whole percents, so not {value:g} %)"
    asked: dict[str, object] = {"share_pct": share_pct, "value": value}
    asked |= {"others_pct": 100 - share_pct, "num_cells_cut": num_cut}
    asked |= {"num_pools_split": num_pools, "num_cells": len(utilities)}
    head = f"With {share_pct} % of the PRBs for {profile.name}{rounded}"
    return tried.finding(head, asked, *_told_of_others(asked))


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
    """The digest with an equal part of a lost cell's devices, demand and tasks."""
    rows = (_with_part_of(own, gone, num_heirs) for own, gone in zip(digest.slices, lost.slices, strict=True))
    return digest.model_copy(update={"slices": tuple(rows)})


def _with_part_of(own: SliceDigest, gone: SliceDigest, num_heirs: int) -> SliceDigest:
    """What the heir can't know of a slice that it has not served is as it was in the lost cell."""
    added = {name: getattr(own, name) + getattr(gone, name) / num_heirs for name in _HANDED_OVER}
    borrowed = {name: getattr(own, name) or getattr(gone, name) for name in ("kbps_per_prb", "task_megacycles")}
    num_devices = own.num_devices + math.ceil(gone.num_devices / num_heirs)
    return own.model_copy(update=added | borrowed | {"num_devices": num_devices})


def _told_of_others(asked: dict[str, object]) -> list[str]:
    """What becomes of the other slices' guarantees."""

    def where(num_cells: object) -> str:
        return "" if asked["num_cells"] == 1 else f", in {num_cells} of {asked['num_cells']} cells"

    cut, pools = asked["num_cells_cut"], asked["num_pools_split"]
    lines = (
        [f"- one pool serves all slices now; nothing is guaranteed to the others then{where(pools)}"] if pools else []
    )
    if cut:
        lines.append(f"- to fit, the other slices' guarantees shrink to {asked['others_pct']} % together{where(cut)}")
    elif pools != asked["num_cells"]:
        lines.append("- the other slices keep what they are guaranteed")
    return lines


def _others(plan: CellPlan, index: int) -> list[int]:
    """What all slices but one are guaranteed, in percent."""
    return [part.min_pct for row, part in enumerate(plan.slices) if row != index]


def _with_share(plan: CellPlan, index: int, share_pct: int) -> CellPlan:
    """Another share of a slice; what the others are guaranteed is cut in proportion only where all would pass 100."""
    others = _others(plan, index)
    left_pct = 100 - share_pct
    kept = iter(others if sum(others) <= left_pct else largest_remainder([float(pct) for pct in others], left_pct))
    parts = tuple(
        replace(part, min_pct=share_pct if row == index else next(kept)) for row, part in enumerate(plan.slices)
    )
    return replace(plan, slices=parts)

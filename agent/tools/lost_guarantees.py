"""What an operator is told of slices whose guarantee a plan takes away, and why that is thought to be fine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from agent.control_room import ControlRoom, plan_of
from agent.tools.finding import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cell_plan import CellPlan
    from agent.goal import GoalTerms
    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.actions import ControlAction

_LEAST_FALL_PCT = 0.5
"""Of what the twin expects in time; less is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostGuarantee:
    """A slice of a cell that had a guaranteed share of the PRBs and has none any more."""

    cell: int
    slice: str
    share_now_pct: int
    is_pool: bool
    """No slice of the cell has a guarantee then."""
    unguaranteed_pct: int
    """PRBs of the cell that are then guaranteed to nobody."""
    prb_use_pct: float
    """Of the cell's PRBs, in the latest interval."""
    in_time_now_pct: float
    """That the twin expects of the plan in force."""
    in_time_then_pct: float
    in_time_target_pct: float
    utility_now_pct: float
    """Of the cell, in the twin."""
    utility_then_pct: float

    def told(self) -> str:
        """In a line."""
        return (
            f"cell {self.cell} {self.slice} no longer has a guarantee ({self.share_now_pct:g} % before): "
            f"{self._served_by()}; {self.prb_use_pct:g} % of the PRBs are used now, and the twin expects "
            f"{self.in_time_then_pct:g} % of it in time instead of {self.in_time_now_pct:g} % "
            f"(target {self.in_time_target_pct:g} %){self._balance()}"
        )

    def document(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)

    def _served_by(self) -> str:
        if self.is_pool:
            return "one pool serves all slices of the cell"
        free = f" and shares the {self.unguaranteed_pct:g} % that nobody is guaranteed" if self.unguaranteed_pct else ""
        return f"it is lent what others leave idle{free}"

    def _balance(self) -> str:
        if self.in_time_then_pct >= min(self.in_time_target_pct, self.in_time_now_pct - _LEAST_FALL_PCT):
            return ""
        gain = f"utility {self.utility_now_pct:g} % to {self.utility_then_pct:g} %"
        if self.utility_then_pct > self.utility_now_pct:
            return f", worse for it but better for the cell as a whole: {gain}"
        return f", worse for it and no better for the cell: {gain}"


def lost_guarantees(
    room: ControlRoom, actions: Sequence[ControlAction], digests: Sequence[EdgeDigest]
) -> tuple[LostGuarantee, ...]:
    """What the actions would take away, in the cells of the digests."""
    desired = room.gate.desired
    after = desired.after(actions, version=desired.version + 1)
    found: list[LostGuarantee] = []
    for digest, terms in zip(digests, room.terms(tuple(digests)), strict=True):
        now, then = room.plan_in_force(digest.cell), plan_of(digest.cell, after, room.topology)
        found.extend(_lost_in(room, digest, terms, now, then))
    return tuple(found)


def _lost_in(
    room: ControlRoom, digest: EdgeDigest, terms: GoalTerms, now: CellPlan, then: CellPlan
) -> list[LostGuarantee]:
    lost = [row for row, part in enumerate(now.slices) if part.min_pct > 0 and then.slices[row].min_pct == 0]
    if not lost:
        return []
    outlook = room.twin.outlook(digest, terms)
    utility_now, utility_then = (percent(float(worth)) for worth in outlook.utilities((now, then)))
    in_time_now, in_time_then = outlook.expected_in_time(now), outlook.expected_in_time(then)
    guaranteed_pct = sum(part.min_pct for part in then.slices)
    return [
        LostGuarantee(
            cell=digest.cell,
            slice=room.topology.slices[row].name,
            share_now_pct=now.slices[row].min_pct,
            is_pool=guaranteed_pct == 0,
            unguaranteed_pct=100 - guaranteed_pct,
            prb_use_pct=percent(digest.prb_used / digest.num_prb),
            in_time_now_pct=percent(float(in_time_now[row])),
            in_time_then_pct=percent(float(in_time_then[row])),
            in_time_target_pct=percent(float(max(terms.target[row], terms.floor[row]))),
            utility_now_pct=utility_now,
            utility_then_pct=utility_then,
        )
        for row in lost
    ]

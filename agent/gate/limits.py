"""What no policy may break, whoever wrote it: capacity, guarantees, rate of change."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from agent.dispatch.desired import DesiredState, target_of
from agent.errors import PolicyRejected
from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.topology import SliceId

_SHARES = ("dedicated_pct", "min_pct", "compute_pct")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """A share that a slice keeps, whatever a plan says."""

    slice: SliceId
    min_pct: int
    cells: tuple[int, ...] = ()
    """Empty: all cells."""

    def covers(self, action: SliceAction) -> bool:
        return action.slice == self.slice and (not self.cells or action.cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the state after a policy, and of the way there."""

    guarantees: tuple[Guarantee, ...] = ()
    max_share_step_pct: int = 60
    """Largest change of one slice's guaranteed, dedicated or greatest share in one window, in points of the cell."""
    max_power_step_db: int = 3
    max_handover_step_db: int = 6
    max_asleep_fraction: float = 0.5
    """Of all cells, 0-1."""
    window_s: float = 10.0
    """Network time over which changes add up; splitting one change into many policies gains nothing."""


def check_limits(
    actions: Iterable[ControlAction], *, current: DesiredState, since: DesiredState, limits: Limits
) -> None:
    """Refuse actions whose result breaks a bound; `since` is the state when the window began. Raises PolicyRejected."""
    changes = tuple(actions)
    after = current.after(changes, version=current.version + 1)
    cells = {action.cell for action in changes}
    for faults in (
        _capacity_faults(after, cells),
        _guarantee_faults(after, cells, limits),
        _step_faults(changes, since, limits),
        _sleep_faults(after, changes, limits),
    ):
        first = next(faults, None)
        if first is not None:
            raise PolicyRejected(first)


def within_steps(actions: Iterable[ControlAction], *, since: DesiredState, limits: Limits) -> tuple[ControlAction, ...]:
    """The same actions, moved only as far from `since` as the rate-of-change caps allow.

    All slices of a cell move by the same fraction, so that sums keep within what both ends keep within.
    """
    by_cell: dict[int, list[ControlAction]] = defaultdict(list)
    for action in actions:
        by_cell[action.cell].append(action)
    return tuple(moved for part in by_cell.values() for moved in _soften(part, since, limits))


def _capacity_faults(after: DesiredState, cells: set[int]) -> Iterator[str]:
    totals: dict[tuple[int, str], int] = defaultdict(int)
    for action in after.actions.values():
        if action.cell in cells and isinstance(action, SliceAction):
            for share in _SHARES:
                totals[action.cell, share] += getattr(action, share)
    for (cell, share), total in totals.items():
        if total > 100:
            yield f"cell {cell}: {share} would sum to {total} with what the other slices keep, at most 100 is allowed"


def _guarantee_faults(after: DesiredState, cells: set[int], limits: Limits) -> Iterator[str]:
    for action in after.actions.values():
        if not isinstance(action, SliceAction) or action.cell not in cells:
            continue
        for guarantee in limits.guarantees:
            if guarantee.covers(action) and action.min_pct < guarantee.min_pct:
                yield (
                    f"cell {action.cell}: slice {action.slice} would keep {action.min_pct} %, "
                    f"{guarantee.min_pct} % is guaranteed"
                )


def _step_faults(changes: tuple[ControlAction, ...], since: DesiredState, limits: Limits) -> Iterator[str]:
    for action in changes:
        before = since.actions.get(target_of(action))
        for name, step, allowed in _steps(action, before, limits):
            if step > allowed:
                yield (
                    f"cell {action.cell}: {name} would change by {step} within {limits.window_s:g} s, "
                    f"at most {allowed} is allowed"
                )


def _steps(action: ControlAction, before: ControlAction | None, limits: Limits) -> Iterator[tuple[str, int, int]]:
    if isinstance(action, SliceAction) and isinstance(before, SliceAction):
        for name in ("min_pct", "dedicated_pct", "max_pct"):
            step = abs(getattr(action, name) - getattr(before, name))
            yield f"{name} of slice {action.slice}", step, limits.max_share_step_pct
    if isinstance(action, CellAction):
        planned = before if isinstance(before, CellAction) else CellAction(cell=action.cell)
        power_step = abs(action.tx_power_step_db - planned.tx_power_step_db)
        yield "tx_power_step_db", power_step, limits.max_power_step_db
        handover_step = abs(action.handover_offset_db - planned.handover_offset_db)
        yield "handover_offset_db", handover_step, limits.max_handover_step_db


def _sleep_faults(after: DesiredState, changes: tuple[ControlAction, ...], limits: Limits) -> Iterator[str]:
    if not any(isinstance(action, CellAction) and action.sleep for action in changes):
        return
    num_cells = len({cell for cell, _ in after.actions})
    asleep = [action.cell for action in after.actions.values() if isinstance(action, CellAction) and action.sleep]
    if len(asleep) > limits.max_asleep_fraction * num_cells:
        yield f"cells {asleep[:10]} would sleep, at most {limits.max_asleep_fraction:.0%} of {num_cells} may"


def _soften(part: list[ControlAction], since: DesiredState, limits: Limits) -> list[ControlAction]:
    """One cell's actions, moved by a common fraction."""
    steps = [
        (step, allowed)
        for action in part
        if isinstance(action, SliceAction)
        for _, step, allowed in _steps(action, since.actions.get(target_of(action)), limits)
    ]
    fraction = min((Fraction(allowed, step) for step, allowed in steps if step > allowed), default=Fraction(1))
    return [_moved(action, since.actions.get(target_of(action)), fraction, limits) for action in part]


def _moved(action: ControlAction, before: ControlAction | None, fraction: Fraction, limits: Limits) -> ControlAction:
    if isinstance(action, SliceAction):
        if not isinstance(before, SliceAction) or fraction == 1:
            return action
        shares = {name: _between(getattr(before, name), getattr(action, name), fraction) for name in _ALL_SHARES}
        return SliceAction.model_validate({**action.model_dump(), **shares})
    planned = before if isinstance(before, CellAction) else CellAction(cell=action.cell)
    power = _clipped(planned.tx_power_step_db, action.tx_power_step_db, limits.max_power_step_db)
    offset = _clipped(planned.handover_offset_db, action.handover_offset_db, limits.max_handover_step_db)
    return action.model_copy(update={"tx_power_step_db": power, "handover_offset_db": offset})


_ALL_SHARES = ("dedicated_pct", "min_pct", "max_pct", "compute_pct")


def _between(start: int, end: int, fraction: Fraction) -> int:
    """Rounded down always, so that rounding never lifts a sum above either end's bound."""
    return math.floor(start + (end - start) * fraction)


def _clipped(start: int, end: int, step: int) -> int:
    return max(start - step, min(start + step, end))

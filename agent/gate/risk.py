"""How much harm a policy could do, and who may let it through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from agent.dispatch.desired import DesiredState, target_of
from telemetry_sim.actions import CellAction, ControlAction, SliceAction

_SMALL_MOVE_PCT = 20
_DEEP_POWER_CUT_DB = 3
_THIN_CEILING_PCT = 5


class RiskTier(IntEnum):
    """Ordered: a higher tier needs more say-so."""

    LOW = 1
    """Shares move a little; undone within one interval."""
    MEDIUM = 2
    """Large moves, caps on devices, power and mobility."""
    HIGH = 3
    """Somebody may lose service: sleep, deep power cuts, closed doors."""


class Mode(StrEnum):
    """How far the agent acts by itself."""

    SUGGEST_ONLY = "suggest-only"
    """Every policy needs an approval; the default for real networks."""
    SUPERVISED = "supervised"
    """Low risk passes, the rest needs an approval."""
    AUTONOMOUS = "autonomous"
    """Up to medium risk passes; high risk needs an approval even so."""


_FREE_TIERS: dict[Mode, frozenset[RiskTier]] = {
    Mode.SUGGEST_ONLY: frozenset(),
    Mode.SUPERVISED: frozenset({RiskTier.LOW}),
    Mode.AUTONOMOUS: frozenset({RiskTier.LOW, RiskTier.MEDIUM}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """A tier, and the changes that put a policy there."""

    tier: RiskTier
    reasons: tuple[str, ...] = ()


def needs_approval(risk: Risk, mode: Mode) -> bool:
    return risk.tier not in _FREE_TIERS[mode]


def assess_risk(actions: Iterable[ControlAction], current: DesiredState) -> Risk:
    """The highest tier that any of the changes falls into, against what is in force."""
    findings: list[tuple[RiskTier, str]] = []
    moved_pct: dict[int, int] = defaultdict(int)
    for action in actions:
        before = current.actions.get(target_of(action))
        if isinstance(action, SliceAction):
            before_slice = before if isinstance(before, SliceAction) else None
            findings += _slice_findings(action, before_slice)
            moved_pct[action.cell] += abs(action.min_pct - before_slice.min_pct) if before_slice else action.min_pct
        else:
            findings += _cell_findings(action, before if isinstance(before, CellAction) else None)
    findings += [
        (RiskTier.MEDIUM, f"cell {cell}: {moved} points of guaranteed share move")
        for cell, moved in moved_pct.items()
        if moved > 2 * _SMALL_MOVE_PCT
    ]
    tier = max((tier for tier, _ in findings), default=RiskTier.LOW)
    return Risk(tier=tier, reasons=tuple(reason for found, reason in findings if found == tier)[:20])


def without_deep_cuts(actions: Iterable[ControlAction], current: DesiredState) -> tuple[ControlAction, ...]:
    """The same actions, with no cell's power lowered so far that it would be high risk."""
    return tuple(_cut_less_deeply(action, current) for action in actions)


def _cut_less_deeply(action: ControlAction, current: DesiredState) -> ControlAction:
    if isinstance(action, SliceAction):
        return action
    before = current.actions.get(target_of(action))
    lowest_db = _lowest_unharmful_db(before if isinstance(before, CellAction) else CellAction(cell=action.cell))
    return action.model_copy(update={"tx_power_step_db": max(lowest_db, action.tx_power_step_db)})


def _lowest_unharmful_db(was: CellAction) -> int:
    """Below it lies a deep cut; power that is lower already may stay or rise."""
    return min(-_DEEP_POWER_CUT_DB, was.tx_power_step_db)


def _slice_findings(action: SliceAction, before: SliceAction | None) -> list[tuple[RiskTier, str]]:
    where = f"cell {action.cell}, slice {action.slice}"
    findings = []
    if action.admission_cap is not None and (before is None or action.admission_cap != before.admission_cap):
        tier = RiskTier.HIGH if action.admission_cap == 0 else RiskTier.MEDIUM
        findings.append((tier, f"{where}: at most {action.admission_cap} devices are admitted"))
    if action.ue_rate_cap_mbps is not None and (before is None or action.ue_rate_cap_mbps != before.ue_rate_cap_mbps):
        findings.append((RiskTier.MEDIUM, f"{where}: each device is capped at {action.ue_rate_cap_mbps:g} Mb/s"))
    was_max_pct = before.max_pct if before else 100
    if action.max_pct < _THIN_CEILING_PCT <= was_max_pct:
        findings.append((RiskTier.HIGH, f"{where}: never more than {action.max_pct} % of the PRBs"))
    return findings


def _cell_findings(action: CellAction, before: CellAction | None) -> list[tuple[RiskTier, str]]:
    was = before or CellAction(cell=action.cell)
    findings = []
    if action.sleep and not was.sleep:
        findings.append((RiskTier.HIGH, f"cell {action.cell}: goes to sleep"))
    if action.tx_power_step_db != was.tx_power_step_db:
        is_deep = action.tx_power_step_db < _lowest_unharmful_db(was)
        tier = RiskTier.HIGH if is_deep else RiskTier.MEDIUM
        findings.append((tier, f"cell {action.cell}: power {action.tx_power_step_db:+d} dB against plan"))
    if action.handover_offset_db != was.handover_offset_db:
        findings.append((RiskTier.MEDIUM, f"cell {action.cell}: handover offset {action.handover_offset_db:+d} dB"))
    return findings

"""Risk tiers and modes."""

from __future__ import annotations

import pytest

from agent.dispatch.desired import DesiredState
from agent.gate.risk import Mode, Risk, RiskTier, assess_risk, needs_approval, without_deep_cuts
from telemetry_sim.actions import CellAction, SliceAction
from telemetry_sim.topology import SliceId

NOW = DesiredState().after(
    [SliceAction(cell=1, slice=SliceId(sst=1), min_pct=50), CellAction(cell=1, tx_power_step_db=-3)], version=1
)


@pytest.mark.parametrize(
    ("action", "tier"),
    [
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=60), RiskTier.LOW),
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=5), RiskTier.MEDIUM),
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=50, ue_rate_cap_mbps=1.0), RiskTier.MEDIUM),
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=50, admission_cap=5), RiskTier.MEDIUM),
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=50, admission_cap=0), RiskTier.HIGH),
        (SliceAction(cell=1, slice=SliceId(sst=1), min_pct=2, max_pct=2), RiskTier.HIGH),
        (CellAction(cell=1, tx_power_step_db=-3), RiskTier.LOW),
        (CellAction(cell=1, tx_power_step_db=0), RiskTier.MEDIUM),
        (CellAction(cell=1, tx_power_step_db=-6), RiskTier.HIGH),
        (CellAction(cell=1, tx_power_step_db=-3, handover_offset_db=2), RiskTier.MEDIUM),
        (CellAction(cell=1, tx_power_step_db=-3, sleep=True), RiskTier.HIGH),
    ],
)
def test_a_change_falls_into_the_tier_of_its_worst_effect(action, tier):
    risk = assess_risk([action], NOW)
    assert risk.tier is tier
    assert bool(risk.reasons) is (tier is not RiskTier.LOW)


@pytest.mark.parametrize(
    ("mode", "free"),
    [(Mode.SUGGEST_ONLY, 0), (Mode.SUPERVISED, 1), (Mode.AUTONOMOUS, 2)],
)
def test_a_mode_lets_its_tiers_through_and_no_higher(mode, free):
    assert [needs_approval(Risk(tier=tier), mode) for tier in RiskTier] == [tier > free for tier in RiskTier]


def test_power_on_its_way_back_is_no_deep_cut():
    low = NOW.after([CellAction(cell=1, tx_power_step_db=-9)], version=2)
    assert assess_risk([CellAction(cell=1, tx_power_step_db=-6)], low).tier is RiskTier.MEDIUM


@pytest.mark.parametrize(
    ("was_db", "asked_db", "left_db"), [(0, -6, -3), (-6, -6, -6), (-6, -9, -6), (-9, -6, -6), (-3, 0, 0)]
)
def test_a_cut_without_deep_steps_needs_nobody_in_autonomous_mode(was_db, asked_db, left_db):
    now = NOW.after([CellAction(cell=1, tx_power_step_db=was_db)], version=2)
    (left,) = without_deep_cuts([CellAction(cell=1, tx_power_step_db=asked_db)], now)
    assert left == CellAction(cell=1, tx_power_step_db=left_db)
    assert not needs_approval(assess_risk([left], now), Mode.AUTONOMOUS)

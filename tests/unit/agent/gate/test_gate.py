"""The gate, from plan to dispatch."""

from __future__ import annotations

import pytest

from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.forecast import TwinForecast
from agent.gate.gate import GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import MaintenanceWindow, Stops
from agent.store.policies import PolicyStatus, save_policy
from telemetry_sim.actions import CellAction, SliceAction
from telemetry_sim.topology import SliceId
from tests.gate_stage import make_gate, policy, shares, status


def test_the_default_is_suggest_only_so_nothing_is_dispatched_unattended(store, network):
    gate = make_gate(store, network)
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(1), now_s=0)
    assert network.versions == []
    assert status(store, 1) is PolicyStatus.AWAITING_APPROVAL


def test_an_autonomous_gate_dispatches_what_passes_and_keeps_the_state(gate, network, store):
    assert gate.submit(policy(1), now_s=0).is_enforced
    assert network.versions == [1]
    assert status(store, 1) is PolicyStatus.ENFORCED
    assert gate.desired.version == 1


def test_high_risk_waits_for_a_person_even_in_autonomous_mode(gate, network):
    with pytest.raises(ApprovalNeeded, match="goes to sleep"):
        gate.submit(policy(1, CellAction(cell=10, sleep=True)), now_s=0)
    assert network.versions == []


def test_an_approved_policy_goes_out_once(gate, network, store):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), now_s=0, approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(wanted, now_s=0).is_enforced
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(2), now_s=0)
    assert network.versions == [1]


def test_an_approval_does_not_fit_a_policy_that_was_edited_since(gate, network):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), now_s=0, approver="ann", reason="fine", lifetime_s=60)
    with pytest.raises(PolicyInvalid, match="taken"):
        gate.submit(policy(1, *shares(90, 10)), now_s=0)
    assert network.versions == []


def test_an_approval_that_expired_lets_nothing_through(gate, network, clock):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), now_s=0, approver="ann", reason="fine", lifetime_s=60)
    clock.now_s += 61
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    assert network.versions == []


def test_only_a_waiting_policy_can_be_approved_and_only_by_its_hash(gate):
    with pytest.raises(PolicyInvalid, match="unknown"):
        gate.approve(1, policy_hash="0" * 64, now_s=0, approver="ann", reason="fine", lifetime_s=60)
    gate.submit(policy(1), now_s=0)
    with pytest.raises(PolicyInvalid, match="has hash"):
        gate.approve(1, policy_hash="0" * 64, now_s=0, approver="ann", reason="fine", lifetime_s=60)
    with pytest.raises(PolicyInvalid, match="not awaiting_approval"):
        gate.approve(1, policy_hash=policy(1).content_hash(), now_s=0, approver="ann", reason="fine", lifetime_s=60)


def test_what_was_only_put_forward_can_be_rejected_too(gate, network, store):
    store.write(lambda t: save_policy(t, policy(1), PolicyStatus.PROPOSED, actor="ann"))
    gate.reject(1, actor="ann", reason="too bold")
    with pytest.raises(PolicyRejected, match="rejected already"):
        gate.submit(policy(1), now_s=0)
    with pytest.raises(PolicyInvalid, match="is rejected, not proposed"):
        gate.reject(1, actor="ann", reason="twice")
    assert network.versions == []


def test_a_rejected_policy_stays_out(gate, network):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(1), now_s=0)
    gate.reject(1, actor="ann", reason="too bold")
    with pytest.raises(PolicyRejected, match="rejected already"):
        gate.submit(policy(1), now_s=0)
    assert network.versions == []


@pytest.mark.parametrize(
    ("stops", "match"),
    [
        (Stops(mode=Mode.AUTONOMOUS, is_killed=True), "kill switch"),
        (Stops(mode=Mode.AUTONOMOUS, freeze_until_unix_s=1_000_001.0), "frozen"),
        (
            Stops(
                mode=Mode.AUTONOMOUS,
                maintenance=(MaintenanceWindow(start_unix_s=0, end_unix_s=2_000_000.0, cells=(10,)),),
            ),
            "under maintenance",
        ),
    ],
)
def test_a_stop_holds_changes_back_and_survives_a_restart(gate, network, store, stops, match):
    gate.set_stops(stops, actor="ann")
    with pytest.raises(PolicyRejected, match=match):
        gate.submit(policy(1), now_s=0)
    with pytest.raises(PolicyRejected, match=match):
        make_gate(store, network).submit(policy(1), now_s=0)
    assert network.versions == []


def test_cells_outside_the_maintenance_window_go_on(gate):
    window = MaintenanceWindow(start_unix_s=0, end_unix_s=2_000_000.0, cells=(10,))
    gate.set_stops(Stops(mode=Mode.AUTONOMOUS, maintenance=(window,)), actor="ann")
    assert gate.submit(policy(1, *shares(60, 40, cell=11)), now_s=0).is_enforced


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (policy(1, *shares(60, 40, cell=99)), "unknown"),
        (policy(1, SliceAction(cell=10, slice=SliceId(sst=9), min_pct=1)), "unknown"),
        (policy(2, parent=1), "planned against 1, in force is 0"),
        (policy(1, shares(60, 40)[0]), "would sum to 110"),
    ],
)
def test_a_policy_that_does_not_fit_the_network_is_refused(gate, network, wanted, match):
    with pytest.raises((PolicyRejected, PolicyInvalid), match=match):
        gate.submit(wanted, now_s=0)
    assert network.versions == []
    assert gate.desired.version == 0


def test_an_expired_policy_is_refused(gate):
    with pytest.raises(PolicyRejected, match="expired"):
        gate.submit(policy(1), now_s=100.0)


def test_the_twins_verdict_keeps_a_worse_policy_out(gate):
    worse = TwinForecast(candidate=(0.50, 0.52, 0.51), current=(0.70, 0.71, 0.72))
    with pytest.raises(PolicyRejected, match="would fall"):
        gate.submit(policy(1), now_s=0, forecast=worse)
    close = TwinForecast(candidate=(0.70, 0.70, 0.70), current=(0.70, 0.71, 0.70))
    assert gate.submit(policy(1), now_s=0, forecast=close).is_enforced


@pytest.mark.parametrize(
    "forecast",
    [
        TwinForecast(candidate=(), current=()),
        TwinForecast(candidate=(1.0,), current=(1.0, 1.0)),
        TwinForecast(candidate=(float("nan"),), current=(0.1,)),
    ],
)
def test_a_forecast_that_says_nothing_is_a_refusal(gate, forecast):
    with pytest.raises(PolicyRejected, match="finite utilities"):
        gate.submit(policy(1), now_s=0, forecast=forecast)


def test_where_a_twin_is_asked_for_a_policy_without_forecast_is_refused(store, network):
    gate = make_gate(store, network, GateSettings(forecast_is_needed=True, default_stops=Stops(mode=Mode.AUTONOMOUS)))
    with pytest.raises(PolicyRejected, match="no twin"):
        gate.submit(policy(1), now_s=0)


def test_splitting_a_change_into_many_policies_gains_nothing_within_a_window(store, network):
    settings = GateSettings(limits=Limits(max_share_step_pct=10), default_stops=Stops(mode=Mode.AUTONOMOUS))
    gate = make_gate(store, network, settings)
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    with pytest.raises(PolicyRejected, match="change by 11"):
        gate.submit(policy(2, *shares(61, 39)), now_s=9)
    assert gate.submit(policy(2, *shares(70, 30)), now_s=10).is_enforced

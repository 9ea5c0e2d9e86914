"""A dispatcher whose every policy passes the gate."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, list_policies
from agent.store.store import Store
from telemetry_sim.actions import CellAction
from tests.gate_stage import ONE, TOPOLOGY, RecordingNetwork, make_gate, policy, shares, status

PLANS = st.tuples(st.integers(0, 100), st.sampled_from((-6, -3, 0, 3)))
"""Percent of the first slice, and the power step."""


@pytest.fixture
def gated(gate, network) -> GatedDispatcher:
    return GatedDispatcher(gate, InProcessDispatcher(network, TOPOLOGY))


def power(step_db: int) -> CellAction:
    return CellAction(cell=10, tx_power_step_db=step_db)


def brief(*actions, at_s: float) -> SchedulingPolicy:
    """As the loop makes it: for two intervals."""
    return policy(1, *actions, at_s=at_s).model_copy(update={"valid_until_s": at_s + 20.0})


def num_waiting(store) -> int:
    return len(store.read(lambda c: list_policies(c, status=PolicyStatus.AWAITING_APPROVAL)))


def test_a_gated_dispatcher_numbers_policies_from_the_state_in_force(gate, gated):
    assert gated.dispatch(policy(1)).policy_version == 1
    assert gated.dispatch(policy(1, *shares(70, 30), at_s=20)).policy_version == 2
    assert gate.desired.version == 2


def test_a_gated_dispatcher_reports_a_refusal_as_not_enforced_and_of_no_version(gate, gated):
    gate.set_stops(Stops(is_killed=True), actor="ann")
    outcome = gated.dispatch(policy(1))
    assert not outcome.is_enforced
    assert outcome.policy_version == 0
    assert "kill switch" in outcome.acknowledgements[0].reason
    assert "kill switch" in gated.last_refusal


def test_while_one_suggestion_waits_no_other_is_made(gate, gated):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    outcomes = [gated.dispatch(policy(1, at_s=at_s)) for at_s in (0.0, 10.0, 20.0)]
    assert not any(outcome.is_enforced for outcome in outcomes)
    assert [outcome.policy_version for outcome in outcomes] == [1, 0, 0]
    assert gate.next_version() == 2
    waiting = gate.waiting(20.0)
    gate.approve(1, policy_hash=waiting.content_hash(), now_s=25.0, approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(waiting, now_s=25.0).is_enforced


@pytest.mark.parametrize(
    ("mode", "action"), [(Mode.SUPERVISED, power(-3)), (Mode.AUTONOMOUS, CellAction(cell=10, sleep=True))]
)
def test_what_needs_a_person_waits_alone_and_long_enough_in_any_mode(gate, gated, store, mode, action):
    gate.set_stops(Stops(mode=mode), actor="ann")
    for at_s in range(0, 600, 10):
        assert not gated.dispatch(brief(action, at_s=float(at_s))).is_enforced
    assert num_waiting(store) == 1
    waiting = gate.waiting(600.0)
    gate.approve(1, policy_hash=waiting.content_hash(), now_s=600.0, approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(waiting, now_s=600.0).is_enforced


def test_what_needs_nobody_passes_beside_one_that_waits(gate, gated, store, network):
    gate.set_stops(Stops(mode=Mode.SUPERVISED), actor="ann")
    assert not gated.dispatch(brief(power(-3), at_s=0.0)).is_enforced
    assert gated.dispatch(brief(*shares(55, 45), at_s=10.0)).is_enforced
    assert network.state[10, ONE].min_pct == 55
    assert status(store, 1) is PolicyStatus.LAPSED


def test_what_needs_nobody_lives_no_longer_than_it_was_planned_for(gate, gated):
    gated.dispatch(brief(at_s=0.0))
    assert gate.policy_in_force.valid_until_s == 20.0


def test_one_cells_large_step_holds_no_other_cell_up(gate, gated, network):
    outcome = gated.dispatch(policy(1, power(-6), *shares(55, 45, cell=11)))
    assert outcome.is_enforced
    assert network.state[10, None] == power(-3)
    assert network.state[11, ONE].min_pct == 55


def test_the_loop_itself_never_lowers_power_so_far_that_a_person_must_agree(gate, gated, network):
    outcomes = [gated.dispatch(policy(1, power(-6), at_s=at_s)) for at_s in (0.0, 10.0, 20.0)]
    assert all(outcome.is_enforced for outcome in outcomes)
    assert network.state[10, None] == power(-3)


def test_a_deep_cut_that_a_person_agreed_to_stays(gate, gated, network):
    gated.dispatch(policy(1, power(-3)))
    deep = policy(2, power(-6), at_s=10.0)
    gate.hold(deep, now_s=10.0, actor="ann")
    gate.approve(2, policy_hash=deep.content_hash(), now_s=10.0, approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(deep, now_s=10.0).is_enforced
    assert gated.dispatch(policy(1, power(-6), at_s=20.0)).is_enforced
    assert network.state[10, None] == power(-6)
    assert gated.dispatch(policy(1, power(0), at_s=30.0)).is_enforced
    assert network.state[10, None] == power(-3)


@settings(max_examples=25, deadline=None)
@given(plans=st.lists(st.tuples(PLANS, PLANS), min_size=1, max_size=6))
def test_whatever_plans_follow_one_another_none_is_refused_in_autonomous_mode(plans):
    with Store.open("sqlite://", lambda: 0.0) as store:
        network = RecordingNetwork()
        gate = make_gate(store, network)
        gate.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
        gated = GatedDispatcher(gate, InProcessDispatcher(network, TOPOLOGY))
        for turn, cells in enumerate(plans):
            actions = [
                action
                for cell, (one, step_db) in zip((10, 11), cells, strict=True)
                for action in (*shares(one, 100 - one, cell=cell), CellAction(cell=cell, tx_power_step_db=step_db))
            ]
            assert gated.dispatch(policy(1, *actions, at_s=10.0 * turn)).is_enforced

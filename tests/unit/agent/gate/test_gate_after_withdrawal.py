"""The gate after a policy was withdrawn from all targets: what is in force, and the way back."""

from __future__ import annotations

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gate import Gate
from agent.gate.history import state_as_of, stored_state
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus
from tests.dispatch_stage import FatefulDispatcher
from tests.gate_stage import ONE, SETTINGS, TOPOLOGY, policy, shares, status


@pytest.fixture
def dispatcher(network) -> FatefulDispatcher:
    return FatefulDispatcher(InProcessDispatcher(network, TOPOLOGY))


@pytest.fixture
def gate(store, dispatcher) -> Gate:
    made = Gate(store=store, dispatcher=dispatcher, topology=TOPOLOGY, settings=SETTINGS)
    made.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    return made


def submit_in_vain(gate: Gate, dispatcher: FatefulDispatcher, wanted: SchedulingPolicy, *, now_s: float) -> None:
    dispatcher.fate = "withdrawn"
    assert gate.submit(wanted, now_s=now_s).is_reverted
    dispatcher.fate = "obeyed"


def go_bad(gate: Gate, *, at_s: float) -> object:
    """Two bad intervals in a row; what came of the second."""
    assert gate.observe(0.1, version=gate.desired.version, now_s=at_s) is None
    return gate.observe(0.1, version=gate.desired.version, now_s=at_s + 10)


def test_bad_intervals_go_back_to_what_a_withdrawn_version_left(gate, dispatcher, network):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    submit_in_vain(gate, dispatcher, policy(2, *shares(70, 30), at_s=20), now_s=20)
    for _ in range(4):
        assert gate.observe(0.8, version=2, now_s=30) is None
    gate.submit(policy(3, *shares(90, 10), at_s=40), now_s=40)
    assert go_bad(gate, at_s=50).is_enforced
    assert network.state[10, ONE].min_pct == 60


def test_an_operator_goes_back_to_the_version_that_was_shown_in_force(gate, dispatcher, network, store):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    submit_in_vain(gate, dispatcher, policy(2, *shares(70, 30), at_s=20), now_s=20)
    gate.submit(policy(3, *shares(90, 10), at_s=40), now_s=40)
    gate.rollback(2, now_s=50, lifetime_s=60, actor="ann", reason="complaints")
    assert network.state[10, ONE].min_pct == 60
    assert status(store, 2) is PolicyStatus.ABORTED
    assert status(store, 3) is PolicyStatus.REVERTED


def test_a_withdrawn_policy_is_never_in_force(gate, dispatcher, store):
    gate.submit(policy(1), now_s=0)
    submit_in_vain(gate, dispatcher, policy(2, *shares(70, 30), *shares(70, 30, cell=11)), now_s=0)
    assert gate.policy_in_force == policy(1)
    gate.rollback(0, now_s=10, lifetime_s=60, actor="ann", reason="start over")
    assert [status(store, version) for version in (1, 2)] == [PolicyStatus.REVERTED, PolicyStatus.ABORTED]
    assert stored_state(store, TOPOLOGY)[0] == gate.desired
    assert state_as_of(store, TOPOLOGY, 2).actions == state_as_of(store, TOPOLOGY, 1).actions


def test_a_rollback_that_is_withdrawn_leaves_what_was_normal_and_is_tried_again(gate, dispatcher, network, store):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    for _ in range(4):
        gate.observe(0.8, version=1, now_s=10)
    gate.submit(policy(2, *shares(90, 10), at_s=20), now_s=20)
    dispatcher.fate = "withdrawn"
    assert go_bad(gate, at_s=30).is_reverted
    assert status(store, 2) is PolicyStatus.ENFORCED
    assert gate.last_good_version == 1
    dispatcher.fate = "obeyed"
    assert go_bad(gate, at_s=50).is_enforced
    assert network.state[10, ONE].min_pct == 60
    assert status(store, 2) is PolicyStatus.REVERTED

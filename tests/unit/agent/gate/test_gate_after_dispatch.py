"""The gate after dispatch: healing, rollback, restart."""

from __future__ import annotations

import json

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import RollbackTrigger
from agent.store.audit_trail import read_trail, verify_trail
from agent.store.policies import PolicyStatus
from telemetry_sim.actions import CellAction
from tests.gate_stage import ONE, SETTINGS, TOPOLOGY, RecordingNetwork, make_gate, policy, shares, status


def test_sending_the_latest_again_reaches_a_healed_cell_without_another_approval(gate, network, store):
    network.down.add(10)
    assert not gate.submit(policy(1), now_s=0).is_enforced
    assert status(store, 1) is PolicyStatus.NOT_ENFORCED
    network.down.clear()
    assert gate.reconcile().is_enforced
    assert status(store, 1) is PolicyStatus.ENFORCED


def test_a_killed_gate_does_not_even_reconcile(gate, network):
    network.down.add(10)
    gate.submit(policy(1), now_s=0)
    network.down.clear()
    gate.set_stops(Stops(is_killed=True), actor="ann")
    assert gate.reconcile() is None
    assert network.state == {}


def test_kpis_that_get_worse_bring_the_last_good_state_back(gate, network, store):
    trigger = RollbackTrigger(utility_drop=0.1, num_intervals=2)
    good = policy(1, *shares(60, 40)).model_copy(update={"rollback": trigger})
    gate.submit(good, now_s=0)
    for _ in range(4):
        assert gate.observe(0.8, version=1, now_s=0) is None
    gate.submit(policy(2, *shares(90, 10)).model_copy(update={"rollback": trigger}), now_s=20)
    assert gate.observe(0.4, version=2, now_s=30) is None
    assert gate.observe(0.4, version=2, now_s=40).is_enforced
    assert network.state[10, ONE].min_pct == 60
    assert gate.desired.version == 3
    assert status(store, 2) is PolicyStatus.REVERTED
    with pytest.raises(PolicyRejected, match="cooling down"):
        gate.submit(policy(4, *shares(90, 10), at_s=40), now_s=41)


def test_a_clock_that_was_ahead_when_it_rolled_back_holds_changes_up_no_longer_than_another(gate):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    for _ in range(4):
        gate.observe(0.8, version=1, now_s=0)
    gate.submit(policy(2, *shares(90, 10)), now_s=20)
    for _ in range(2):
        gate.observe(0.4, version=2, now_s=9e9)
    assert gate.desired.version == 3
    gate.submit(policy(4, *shares(70, 30), at_s=40), now_s=41)
    assert gate.desired.version == 4


def test_a_clock_that_was_ahead_when_a_window_began_leaves_no_window_without_end(store, network):
    made = make_gate(store, network, GateSettings(limits=Limits(max_share_step_pct=20, window_s=10.0)))
    made.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    made.submit(policy(1, *shares(60, 40), at_s=9e9), now_s=9e9)
    made.submit(policy(2, *shares(70, 30)), now_s=20)
    made.submit(policy(3, *shares(85, 15)), now_s=40)
    assert network.state[10, ONE].min_pct == 85


def test_a_clock_that_goes_back_a_little_begins_no_new_window(store, network):
    made = make_gate(store, network, GateSettings(limits=Limits(max_share_step_pct=20, window_s=10.0)))
    made.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    made.submit(policy(1, *shares(70, 30)), now_s=20)
    with pytest.raises(PolicyRejected, match="within 10 s"):
        made.submit(policy(2, *shares(85, 15)), now_s=15)


def test_a_rollback_that_would_change_nothing_is_not_sent(gate, network):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    for _ in range(4):
        gate.observe(0.8, version=1, now_s=10)
    gate.submit(policy(2, *shares(60, 40)), now_s=20)
    assert [gate.observe(0.1, version=2, now_s=at_s) for at_s in (30, 40, 50, 60)] == [None] * 4
    assert network.versions == [1, 2]
    with pytest.raises(PolicyInvalid, match="nothing but what is in force"):
        gate.rollback(1, now_s=70, lifetime_s=10, actor="ann", reason="why not")


def test_after_a_rollback_a_lasting_fall_is_taken_as_the_new_normal(gate, network):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    for _ in range(4):
        gate.observe(0.8, version=1, now_s=10)
    gate.submit(policy(2, *shares(90, 10)), now_s=20)
    outcomes = [gate.observe(0.1, version=gate.desired.version, now_s=at_s) for at_s in range(30, 100, 10)]
    assert sum(outcome is not None for outcome in outcomes) == 1


def test_an_approver_can_go_back_to_any_version_even_when_killed(gate, network):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.submit(policy(2, *shares(70, 30)), now_s=20)
    gate.set_stops(Stops(is_killed=True), actor="ann")
    gate.rollback(1, now_s=30, lifetime_s=60, actor="ann", reason="complaints", despite_kill=True)
    assert network.state[10, ONE].min_pct == 60
    gate.rollback(0, now_s=40, lifetime_s=60, actor="ann", reason="start over", despite_kill=True)
    assert network.state[10, ONE].min_pct == 50
    with pytest.raises(PolicyInvalid, match="unknown"):
        gate.rollback(99, now_s=40, lifetime_s=60, actor="ann", reason="typo", despite_kill=True)


def test_nobody_elses_rollback_is_sent_when_killed(gate, network, store):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.set_stops(Stops(is_killed=True), actor="ann")
    with pytest.raises(PolicyRejected, match="until an approver turns it off"):
        gate.rollback(0, now_s=30, lifetime_s=60, actor="bob", reason="complaints")
    assert network.versions == [1]
    assert status(store, 1) is PolicyStatus.ENFORCED


@pytest.mark.parametrize("way_on", ["let go", "new policy", "roll back"])
def test_a_restart_while_killed_sends_nothing_before_the_switch_is_off_or_an_approver_rolls_back(gate, store, way_on):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.submit(policy(2, *shares(70, 30, cell=11)), now_s=20)
    gate.set_stops(Stops(mode=Mode.AUTONOMOUS, is_killed=True), actor="ann")
    fresh_network = RecordingNetwork()
    again = make_gate(store, fresh_network)
    assert not again.resume().is_enforced
    assert again.reconcile() is None
    assert fresh_network.versions == []
    assert status(store, 2) is PolicyStatus.NOT_ENFORCED
    assert [(state.desired_version, state.reported_version) for state in again.states()] == [(1, 0), (2, 0)]
    if way_on == "roll back":
        again.rollback(1, now_s=40, lifetime_s=60, actor="ann", reason="safer", despite_kill=True)
    else:
        again.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    if way_on == "new policy":
        again.submit(policy(3, *shares(50, 50, cell=11), at_s=40), now_s=40)
    again.reconcile()
    expected = (60, 70) if way_on == "let go" else (60, 50)
    assert tuple(fresh_network.state[cell, ONE].min_pct for cell in (10, 11)) == expected
    assert all(state.is_settled for state in again.states())


def test_a_version_that_another_followed_is_superseded_in_the_same_transaction(gate, store, network):
    for version, one in ((1, 60), (2, 70), (3, 80)):
        gate.submit(policy(version, *shares(one, 100 - one)), now_s=20 * version)
    expected = [PolicyStatus.SUPERSEDED, PolicyStatus.SUPERSEDED, PolicyStatus.ENFORCED]
    assert [status(store, version) for version in (1, 2, 3)] == expected
    entries = [(e.time_us, e.body) for e in store.read(lambda c: list(read_trail(c))) if e.kind == "policy_status"]
    assert [json.loads(body)["version"] for _, body in entries[-2:]] == [3, 2]
    gate.rollback(1, now_s=80, lifetime_s=60, actor="ann", reason="complaints")
    assert network.state[10, ONE].min_pct == 60
    expected = [PolicyStatus.SUPERSEDED, PolicyStatus.SUPERSEDED, PolicyStatus.REVERTED, PolicyStatus.ENFORCED]
    assert [status(store, version) for version in (1, 2, 3, 4)] == expected
    again = make_gate(store, RecordingNetwork())
    again.resume()
    assert again.desired == gate.desired
    assert [status(store, version) for version in (1, 2, 3, 4)] == expected
    assert store.read(verify_trail).is_intact


def test_a_restart_takes_up_the_state_where_it_stopped(gate, network, store):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.submit(policy(2, *shares(70, 30, cell=11)), now_s=20)
    fresh_network = RecordingNetwork()
    again = make_gate(store, fresh_network)
    assert again.resume().is_enforced
    assert again.desired == gate.desired
    assert fresh_network.state == network.state
    assert again.submit(policy(3, *shares(55, 45)), now_s=40).is_enforced


def test_a_crash_between_admission_and_dispatch_loses_nothing(gate, store, network):
    class PowerCut(Exception):
        pass

    class CuttingNetwork(RecordingNetwork):
        def apply(self, actions, *, policy_version):
            raise PowerCut

    cut = make_gate(store, CuttingNetwork())
    with pytest.raises(PowerCut):
        cut.submit(policy(1), now_s=0)
    assert status(store, 1) is PolicyStatus.DISPATCHING
    assert make_gate(store, network).resume().is_enforced
    assert status(store, 1) is PolicyStatus.ENFORCED


def test_a_new_store_has_nothing_to_resume(gate):
    assert gate.resume() is None


def test_a_dispatch_leaves_waiting_policies_behind(gate, store):
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(1, CellAction(cell=10, sleep=True)), now_s=0)
    gate.submit(policy(2, parent=0), now_s=0)
    assert status(store, 1) is PolicyStatus.LAPSED


def test_every_refusal_is_in_an_intact_trail(gate, store):
    with pytest.raises(PolicyRejected):
        gate.submit(policy(1), now_s=500.0)
    assert [entry.kind for entry in store.read(lambda c: list(read_trail(c)))][-1] == "policy_refused"
    assert store.read(verify_trail).is_intact


def test_a_restart_after_a_rollback_takes_up_what_a_reverted_policy_had_set(gate, network, store):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.submit(policy(2, *shares(40, 60), at_s=20), now_s=20)
    gate.submit(policy(3, *shares(60, 40), *shares(70, 30, cell=11), at_s=40), now_s=40)
    gate.rollback(1, now_s=60, lifetime_s=60, actor="ann", reason="complaints")
    fresh_network = RecordingNetwork()
    again = make_gate(store, fresh_network)
    assert again.resume().is_enforced
    assert again.desired == gate.desired
    assert fresh_network.state == network.state
    assert fresh_network.state[10, ONE].min_pct == 60


def test_the_first_policy_of_a_new_store_is_held_to_the_state_before_it(gate, network, store):
    for at_s in range(0, 40, 10):
        assert gate.observe(0.8, version=0, now_s=at_s) is None
    gate.submit(policy(1, *shares(90, 10), at_s=40), now_s=40)
    assert gate.observe(0.4, version=1, now_s=50) is None
    assert gate.observe(0.4, version=1, now_s=60).is_enforced
    assert network.state[10, ONE].min_pct == 50
    assert status(store, 1) is PolicyStatus.REVERTED


def test_bad_intervals_before_any_policy_are_nobodys_fault(gate, network):
    for utility in (0.8, 0.8, 0.8, 0.1, 0.1, 0.1):
        assert gate.observe(utility, version=0, now_s=0) is None
    assert network.versions == []


def num_healed(store) -> int:
    return sum('"healed"' in entry.body for entry in store.read(lambda c: list(read_trail(c))))


def test_while_another_cell_is_away_no_version_is_called_healed_again_and_again(gate, network, store):
    network.down.add(11)
    gate.submit(policy(1, *shares(60, 40), *shares(60, 40, cell=11)), now_s=0)
    gate.submit(policy(2, *shares(70, 30)), now_s=20)
    assert status(store, 2) is PolicyStatus.ENFORCED
    for _ in range(3):
        gate.reconcile()
    assert num_healed(store) == 0


def test_a_version_is_called_healed_once(gate, network, store):
    network.down |= {10, 11}
    gate.submit(policy(1, *shares(60, 40), *shares(60, 40, cell=11)), now_s=0)
    gate.submit(policy(2, *shares(70, 30)), now_s=20)
    network.down.discard(10)
    for _ in range(3):
        gate.reconcile()
    assert status(store, 2) is PolicyStatus.ENFORCED
    assert num_healed(store) == 1


def test_a_new_store_numbers_on_from_what_the_targets_obeyed(store, network):
    dispatcher = InProcessDispatcher(network, TOPOLOGY)
    dispatcher.dispatch(policy(7))
    fresh = Gate(store=store, dispatcher=dispatcher, topology=TOPOLOGY, settings=SETTINGS)
    fresh.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    assert fresh.next_version() == 8
    assert fresh.submit(policy(8, *shares(70, 30), parent=0), now_s=0).is_enforced

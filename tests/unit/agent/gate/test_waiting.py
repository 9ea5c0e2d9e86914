"""Policies that wait for a person, and what makes them lapse."""

from __future__ import annotations

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import ApprovalNeeded, PolicyRejected
from agent.gate.gate import Gate
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.approvals import list_approvals
from agent.store.audit_trail import read_trail
from agent.store.policies import PolicyStatus, save_policy
from agent.store.store import Store
from telemetry_sim.actions import CellAction
from tests.gate_stage import TOPOLOGY, RecordingNetwork, make_gate, policy, shares, status

ASLEEP = CellAction(cell=10, sleep=True)
"""Needs a person in any mode."""


def ask(gate: Gate, version: int, *, parent: int = 0, at_s: float = 0.0, until_s: float = 1000.0) -> SchedulingPolicy:
    """A policy that waits from now on."""
    wanted = policy(version, ASLEEP, parent=parent, at_s=at_s).model_copy(update={"valid_until_s": until_s})
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=at_s)
    return wanted


def approve(gate: Gate, wanted: SchedulingPolicy, *, now_s: float) -> None:
    content_hash = wanted.content_hash()
    gate.approve(wanted.version, policy_hash=content_hash, now_s=now_s, approver="ann", reason="fine", lifetime_s=600)


def num_approvals(store: Store, wanted: SchedulingPolicy) -> int:
    return len(store.read(lambda c: list_approvals(c, policy_hash=wanted.content_hash())))


def num_entries(store: Store) -> int:
    return len(store.read(lambda c: list(read_trail(c))))


def test_a_rollback_lets_what_waits_lapse(gate, store):
    gate.submit(policy(1), now_s=0)
    ask(gate, 2, parent=1)
    gate.rollback(0, now_s=10, lifetime_s=60, actor="ann", reason="complaints")
    assert status(store, 2) is PolicyStatus.LAPSED


def test_what_waited_until_it_expired_lapses_with_the_next_interval(gate, store):
    ask(gate, 1, until_s=50.0)
    gate.observe(0.8, version=0, now_s=49.0)
    assert status(store, 1) is PolicyStatus.AWAITING_APPROVAL
    gate.observe(0.8, version=0, now_s=50.0)
    assert status(store, 1) is PolicyStatus.LAPSED


def test_what_waits_and_is_live_costs_no_entry_in_the_trail(gate, store):
    ask(gate, 1)
    before = num_entries(store)
    gate.observe(0.8, version=0, now_s=10.0)
    assert num_entries(store) == before


def test_what_expired_lapses_where_another_begins_to_wait(gate, store):
    ask(gate, 1, until_s=50.0)
    ask(gate, 2, at_s=60.0)
    gate.hold(policy(3, *shares(60, 40), parent=0, at_s=60.0), now_s=60.0, actor="ann")
    assert [status(store, version) for version in (1, 2, 3)] == [
        PolicyStatus.LAPSED,
        PolicyStatus.AWAITING_APPROVAL,
        PolicyStatus.AWAITING_APPROVAL,
    ]


@pytest.mark.parametrize(("now_s", "match"), [(50.0, "expired at 50 s"), (0.0, "was planned at 20 s, it is 0 s")])
def test_no_approval_is_recorded_for_what_is_not_live(gate, store, now_s, match):
    wanted = ask(gate, 1, at_s=20.0, until_s=50.0)
    with pytest.raises(PolicyRejected, match=match):
        approve(gate, wanted, now_s=now_s)
    assert num_approvals(store, wanted) == 0


def test_no_approval_is_recorded_for_what_was_planned_against_another_version(gate, store):
    gate.submit(policy(1), now_s=0)
    wanted = policy(2, ASLEEP, parent=0)
    store.write(lambda t: save_policy(t, wanted, PolicyStatus.AWAITING_APPROVAL, actor="ann"))
    with pytest.raises(PolicyRejected, match="planned against 0, in force is 1"):
        approve(gate, wanted, now_s=10.0)
    assert num_approvals(store, wanted) == 0


def test_a_live_policy_is_approved_and_dispatched(gate):
    wanted = ask(gate, 1, at_s=20.0)
    approve(gate, wanted, now_s=15.0)
    assert gate.submit(wanted, now_s=15.0).is_enforced


def test_after_a_restart_of_a_network_whose_clock_began_anew_others_are_proposed(gate, store):
    ask(gate, 1, at_s=86_400.0, until_s=87_300.0)
    network = RecordingNetwork()
    again = make_gate(store, network)
    again.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    again.resume()
    gated = GatedDispatcher(again, InProcessDispatcher(network, TOPOLOGY))
    assert again.waiting(10.0) is None
    assert gated.dispatch(policy(1, *shares(60, 40), at_s=10.0)).policy_version == 2
    assert again.waiting(10.0).version == 2
    assert status(store, 1) is PolicyStatus.LAPSED


def test_what_was_planned_before_the_clock_began_anew_is_not_dispatched(gate, network):
    with pytest.raises(PolicyRejected, match="was planned at 500 s, it is 10 s"):
        gate.submit(policy(1, at_s=500.0), now_s=10.0)
    assert network.versions == []


def test_a_restart_leaves_what_can_still_be_approved(gate, store, network):
    wanted = ask(gate, 1, at_s=20.0)
    again = make_gate(store, network)
    again.resume()
    assert again.waiting(30.0) == wanted

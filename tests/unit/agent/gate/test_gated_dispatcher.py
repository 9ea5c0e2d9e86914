"""A dispatcher whose every policy passes the gate."""

from __future__ import annotations

from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from tests.gate_stage import TOPOLOGY, policy, shares


def test_a_gated_dispatcher_numbers_policies_from_the_state_in_force(gate, network):
    gated = GatedDispatcher(gate, InProcessDispatcher(network, TOPOLOGY))
    assert gated.dispatch(policy(1)).policy_version == 1
    assert gated.dispatch(policy(1, *shares(70, 30), at_s=20)).policy_version == 2
    assert gate.desired.version == 2


def test_a_gated_dispatcher_reports_a_refusal_as_not_enforced(gate, network):
    gated = GatedDispatcher(gate, InProcessDispatcher(network, TOPOLOGY))
    gate.set_stops(Stops(is_killed=True), actor="ann")
    outcome = gated.dispatch(policy(1))
    assert not outcome.is_enforced
    assert "kill switch" in outcome.acknowledgements[0].reason
    assert "kill switch" in gated.last_refusal


def test_while_one_suggestion_waits_no_other_is_made(gate, network, store):
    gated = GatedDispatcher(gate, InProcessDispatcher(network, TOPOLOGY))
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    for at_s in (0.0, 10.0, 20.0):
        assert not gated.dispatch(policy(1, at_s=at_s)).is_enforced
    assert gate.next_version() == 2
    waiting = gate.waiting(20.0)
    gate.approve(1, policy_hash=waiting.content_hash(), approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(waiting, now_s=25.0).is_enforced

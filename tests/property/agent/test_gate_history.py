"""Laws of the gate's history: what the store says is in force is what is in force, whatever has happened."""

from __future__ import annotations

import contextlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.dispatch.desired import DesiredState, Target, target_of
from agent.dispatch.in_process import InProcessDispatcher
from agent.dispatch.port import DispatchOutcome
from agent.errors import PolicyInvalid, PolicyRejected
from agent.gate.gate import Gate, GateSettings
from agent.gate.history import state_as_of, stored_state
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.store.store import Store
from telemetry_sim.actions import CellAction, ControlAction
from tests.dispatch_stage import FatefulDispatcher
from tests.property.agent.test_gate_model import TOPOLOGY, ObservedNetwork, next_policy, shares

SETTINGS = GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.AUTONOMOUS))
FATES = st.sampled_from(("obeyed", "obeyed", "withdrawn", "refused"))


class HistoryMachine(RuleBasedStateMachine):
    """Policies and rollbacks, each obeyed, withdrawn or refused, and restarts, in any order."""

    @initialize()
    def begin(self) -> None:
        self.store = Store.open("sqlite://", lambda: 1000.0)
        self.network = ObservedNetwork()
        self.left: dict[int, DesiredState] = {0: DesiredState.initial(TOPOLOGY)}
        """What was desired once a version had been dispatched."""
        self.restart()

    @rule()
    def restart(self) -> None:
        self.dispatcher = FatefulDispatcher(InProcessDispatcher(self.network, TOPOLOGY))
        self.gate = Gate(store=self.store, dispatcher=self.dispatcher, topology=TOPOLOGY, settings=SETTINGS)
        self.gate.resume()

    @rule(
        ones=st.dictionaries(st.sampled_from((0, 1)), st.sampled_from((40, 50, 60)), min_size=1),
        power_db=st.sampled_from((None, 0, -3)),
        fate=FATES,
    )
    def submit(self, ones: dict[int, int], power_db: int | None, fate: str) -> None:
        actions = [action for cell, one in ones.items() for action in shares(cell, one)]
        if power_db is not None:
            actions.append(CellAction(cell=0, tx_power_step_db=power_db))
        policy = next_policy(self.gate, *actions)
        self.dispatcher.fate = fate
        with contextlib.suppress(PolicyRejected):
            self._note(self.gate.submit(policy, now_s=0))

    @rule(data=st.data(), fate=FATES)
    def roll_back(self, data: st.DataObject, fate: str) -> None:
        self.dispatcher.fate = fate
        with contextlib.suppress(PolicyInvalid, PolicyRejected):
            to_version = data.draw(st.sampled_from(sorted(self.left)))
            outcome = self.gate.rollback(to_version, now_s=0, lifetime_s=60, actor="ann", reason="any")
            if not outcome.is_reverted:
                assert self.gate.desired.actions == self.left[to_version].actions
            self._note(outcome)

    @invariant()
    def the_store_knows_what_is_desired(self) -> None:
        desired, latest = stored_state(self.store, TOPOLOGY)
        assert desired.actions == self.gate.desired.actions
        assert desired.versions == self.gate.desired.versions
        assert (None if latest is None else latest.policy) == self.gate.policy_in_force

    @invariant()
    def the_network_runs_what_is_desired(self) -> None:
        told: dict[Target, ControlAction] = dict(self.left[0].actions)
        for _, actions in self.network.told:
            told.update({target_of(action): action for action in actions})
        assert told == dict(self.gate.desired.actions)

    @invariant()
    def every_dispatched_version_can_be_gone_back_to(self) -> None:
        for version, desired in self.left.items():
            assert state_as_of(self.store, TOPOLOGY, version).actions == desired.actions

    def teardown(self) -> None:
        self.store.close()

    def _note(self, outcome: DispatchOutcome) -> None:
        assert outcome.policy_version == self.gate.desired.version
        self.left[outcome.policy_version] = self.gate.desired


HistoryMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_the_stored_state_is_the_live_state = HistoryMachine.TestCase

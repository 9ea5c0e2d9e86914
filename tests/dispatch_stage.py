"""Dispatchers that stand before another one in the tests."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState
from agent.dispatch.mqtt_ledger import withdrawn_outcome
from agent.dispatch.port import Dispatcher, DispatchOutcome, TargetState
from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy


class PassingDispatcher:
    """Hands everything on."""

    def __init__(self, inner: Dispatcher) -> None:
        self._inner = inner

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        return self._inner.dispatch(policy)

    def reconcile(self) -> DispatchOutcome | None:
        return self._inner.reconcile()

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        return self._inner.restore(desired, latest)

    def states(self) -> tuple[TargetState, ...]:
        return self._inner.states()

    def newest_version(self) -> int:
        return self._inner.newest_version()


class FatefulDispatcher(PassingDispatcher):
    """Obeys, withdraws from all cells or refuses, as it is told."""

    fate = "obeyed"

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        if self.fate == "refused":
            raise PolicyRejected("the network refused it")
        if self.fate == "withdrawn":
            cells = tuple(dict.fromkeys(action.cell for action in policy.actions))
            return withdrawn_outcome(policy, cells, "the broker can't be reached")
        return super().dispatch(policy)

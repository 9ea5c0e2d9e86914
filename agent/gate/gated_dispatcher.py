"""A dispatcher whose every policy passes the gate: what the control loop is given."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import Dispatcher, DispatchOutcome, TargetState
from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.gate import Gate
from agent.gate.risk import Mode
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement


class GatedDispatcher:
    """Numbers policies itself, from the state in force; a refusal is an outcome that nobody applied.

    While a policy waits for a person, no other is proposed until it is decided on or expires.
    """

    def __init__(self, gate: Gate, dispatcher: Dispatcher, *, waiting_s: float = 900.0) -> None:
        self._gate = gate
        self.inner = dispatcher
        """What policies that pass are given to."""
        self._waiting_s = waiting_s
        self.last_refusal = ""
        """Why the latest policy was not dispatched; empty where it was."""

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        now_s = policy.valid_from_s
        waiting = self._gate.waiting(now_s)
        if waiting is not None and self._gate.stops().mode is Mode.SUGGEST_ONLY:
            return self._refused(policy, f"version {waiting.version} awaits approval")
        numbered = self._numbered(policy)
        try:
            outcome = self._gate.submit(numbered, now_s=now_s)
        except (ApprovalNeeded, PolicyRejected, PolicyInvalid) as error:
            return self._refused(numbered, str(error))
        self.last_refusal = ""
        return outcome

    def reconcile(self) -> DispatchOutcome | None:
        return self._gate.reconcile()

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        return self.inner.restore(desired, latest)

    def states(self) -> tuple[TargetState, ...]:
        return self.inner.states()

    def _numbered(self, policy: SchedulingPolicy) -> SchedulingPolicy:
        """The same decision as the next version of what is in force; it lives longer where a person must look."""
        until_s = policy.valid_until_s
        if self._gate.stops().mode is Mode.SUGGEST_ONLY:
            until_s = max(until_s, policy.valid_from_s + self._waiting_s)
        changes = {
            "version": self._gate.next_version(),
            "parent_version": self._gate.desired.version,
            "valid_until_s": until_s,
        }
        return policy.model_copy(update=changes)

    def _refused(self, policy: SchedulingPolicy, reason: str) -> DispatchOutcome:
        self.last_refusal = reason
        cells = dict.fromkeys(action.cell for action in policy.actions)
        return DispatchOutcome(
            policy_version=policy.version,
            acknowledgements=tuple(
                Acknowledgement(cell=cell, policy_version=policy.version, applied=False, reason=reason)
                for cell in cells
            ),
        )

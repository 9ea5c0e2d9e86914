"""A dispatcher whose every policy passes the gate: what the control loop is given."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import Dispatcher, DispatchOutcome, TargetState
from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.gate import Gate
from agent.gate.risk import without_deep_cuts
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement


class GatedDispatcher:
    """Numbers policies itself, from the state in force; a refusal is an outcome that nobody applied.

    A step that the caps or a person would have to let through is shortened, so that one cell holds no other up.
    While a policy waits for a person, no other that needs one is proposed until it is decided on or expires.
    """

    def __init__(self, gate: Gate, dispatcher: Dispatcher, *, waiting_s: float = 900.0) -> None:
        self._gate = gate
        self.inner = dispatcher
        """What policies that pass are given to."""
        self._waiting_s = waiting_s
        self.last_refusal = ""
        """Why the latest policy was not dispatched; empty where it was."""

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        """As the port's; a refusal has the number under which the policy waits, 0 where it is not kept."""
        now_s = policy.valid_from_s
        numbered = self._numbered(policy)
        waiting = self._gate.waiting(now_s)
        if waiting is not None and self._gate.needs_approval(numbered.actions):
            return self._refused(policy, f"version {waiting.version} awaits approval")
        try:
            outcome = self._gate.submit(numbered, now_s=now_s)
        except ApprovalNeeded as error:
            return self._refused(policy, str(error), version=numbered.version)
        except (PolicyRejected, PolicyInvalid) as error:
            return self._refused(policy, str(error))
        self.last_refusal = ""
        return outcome

    def reconcile(self) -> DispatchOutcome | None:
        return self._gate.reconcile()

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        return self.inner.restore(desired, latest)

    def states(self) -> tuple[TargetState, ...]:
        return self._gate.states()

    def newest_version(self) -> int:
        return self.inner.newest_version()

    def _numbered(self, policy: SchedulingPolicy) -> SchedulingPolicy:
        """The same decision as the next version of what is in force; it lives longer where a person must look."""
        desired, now_s, until_s = self._gate.desired, policy.valid_from_s, policy.valid_until_s
        actions = without_deep_cuts(self._gate.within_steps(policy.actions, now_s=now_s), desired)
        if self._gate.needs_approval(actions):
            until_s = max(until_s, now_s + self._waiting_s)
        changes = {
            "version": self._gate.next_version(),
            "parent_version": desired.version,
            "valid_until_s": until_s,
            "actions": actions,
        }
        return policy.model_copy(update=changes)

    def _refused(self, policy: SchedulingPolicy, reason: str, *, version: int = 0) -> DispatchOutcome:
        self.last_refusal = reason
        cells = dict.fromkeys(action.cell for action in policy.actions)
        return DispatchOutcome(
            policy_version=version,
            acknowledgements=tuple(
                Acknowledgement(cell=cell, policy_version=version, applied=False, reason=reason) for cell in cells
            ),
        )

"""The gate: the only way from a plan to the dispatcher; whatever it can't be sure of stays out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import Dispatcher, DispatchOutcome, TargetState
from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.forecast import TwinForecast, refuse_if_worse
from agent.gate.healing import note_healed
from agent.gate.history import state_as_of, stored_state
from agent.gate.keeping import (
    keep_proposed,
    keep_rollback,
    keep_waiting,
    note_outcome,
    note_refusal,
    reject_undecided,
    require_waiting,
)
from agent.gate.limits import Limits, check_limits, within_steps
from agent.gate.risk import Risk, assess_risk, needs_approval
from agent.gate.stops import KILLED, Stops, load_stops, refuse_if_stopped, save_stops
from agent.gate.unsent import not_sent, unsent_states
from agent.gate.waiting import Present
from agent.gate.watch import RollbackWatch
from agent.policy import RollbackTrigger, SchedulingPolicy, check_against
from agent.store.approvals import Approval, grant_approval, use_approval
from agent.store.policies import PolicyStatus, let_waiting_lapse, next_version, set_policy_status
from agent.store.store import Store
from agent.store.writer import Transaction
from agent.tracing import traced
from telemetry_sim.actions import ControlAction
from telemetry_sim.topology import Topology

_Check = tuple[str, Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """What an installation allows."""

    limits: Limits = field(default_factory=Limits)
    default_stops: Stops = field(default_factory=Stops)
    """In force until an operator sets others; suggest-only."""
    forecast_is_needed: bool = False
    """Refuse policies that no twin has tried."""
    forecast_tolerance: float = 0.02
    """Fall of utility, 0-1, that the twin may foresee."""
    cooldown_s: float = 30.0
    """Network time after an automatic rollback in which no planned change passes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the gate thinks of a policy, check by check, without letting it through."""

    checks: dict[str, str] = field(default_factory=dict)
    """Name of each check that ran, and `ok` or why it failed."""
    risk: Risk
    needs_approval: bool
    refusal: PolicyRejected | PolicyInvalid | None = None


class Gate:
    """Examines, asks for approval, dispatches, watches and rolls back; one policy at a time."""

    def __init__(self, *, store: Store, dispatcher: Dispatcher, topology: Topology, settings: GateSettings) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._topology = topology
        self._settings = settings
        self._lock = threading.RLock()
        self._desired = DesiredState.initial(topology)
        self._window_start_s = -settings.limits.window_s
        self._window_state = self._desired
        self._cooldown_start_s = -math.inf
        self._latest: SchedulingPolicy | None = None
        self._is_unsent = False
        """Whether the stored state was taken up while the kill switch was on, so that no target was told of it."""
        self._watch = RollbackWatch()

    @property
    def desired(self) -> DesiredState:
        """What every target should run now."""
        return self._desired

    @property
    def policy_in_force(self) -> SchedulingPolicy | None:
        """The last policy that was dispatched and not withdrawn; None in the network's initial state."""
        return self._latest

    def states(self) -> tuple[TargetState, ...]:
        """What every target should run and what it says it runs."""
        known = self._dispatcher.states()
        return unsent_states(known, self._desired) if self._is_unsent else known

    def waiting(self, now_s: float) -> SchedulingPolicy | None:
        """The policy that could be dispatched if a person approved it now; None where there is none."""
        return self._present(now_s).newest_live(self._store)

    def next_version(self) -> int:
        """More than the store and the targets know: a new store may meet targets that obeyed another."""
        in_store = self._store.read(next_version)
        return max(in_store, self._desired.version + 1, self._dispatcher.newest_version() + 1)

    def stops(self) -> Stops:
        return self._store.read(lambda connection: load_stops(connection, self._settings.default_stops))

    def set_stops(self, stops: Stops, *, actor: str) -> None:
        self._store.write(lambda transaction: save_stops(transaction, stops, actor=actor))

    def window_state(self, now_s: float) -> DesiredState:
        """The state that rate-of-change caps count from at this network time."""
        return self._desired if self._is_window_over(now_s) else self._window_state

    def within_steps(self, actions: Iterable[ControlAction], *, now_s: float) -> tuple[ControlAction, ...]:
        """The same actions, moved only as far as rate-of-change caps allow at this network time."""
        return within_steps(actions, since=self.window_state(now_s), limits=self._settings.limits)

    def needs_approval(self, actions: Iterable[ControlAction]) -> bool:
        """Whether a person must let these actions through, in the mode and state of now."""
        return needs_approval(assess_risk(actions, self._desired), self.stops().mode)

    def examine(self, policy: SchedulingPolicy, *, now_s: float, forecast: TwinForecast | None = None) -> Examination:
        """Run every check; the first failure is the refusal."""
        checks: dict[str, str] = {}
        stops = self.stops()
        risk = assess_risk(policy.actions, self._desired)
        refusal: PolicyRejected | PolicyInvalid | None = None
        steps: tuple[_Check, ...] = (
            ("stops", lambda: self._check_stops(policy, stops)),
            ("semantics", lambda: check_against(policy, self._topology)),
            ("freshness", lambda: self._check_freshness(policy, now_s)),
            ("limits", lambda: self._check_limits(policy, now_s)),
            ("forecast", lambda: self._check_forecast(forecast)),
        )
        for name, check in steps:
            try:
                check()
            except (PolicyRejected, PolicyInvalid) as error:
                checks[name] = str(error)
                refusal = error
                break
            checks[name] = "ok"
        return Examination(checks=checks, risk=risk, needs_approval=needs_approval(risk, stops.mode), refusal=refusal)

    @traced("gate")
    def submit(
        self,
        policy: SchedulingPolicy,
        *,
        now_s: float,
        actor: str = "loop",
        forecast: TwinForecast | None = None,
    ) -> DispatchOutcome:
        """Dispatch the policy if it passes; raises PolicyInvalid, PolicyRejected or ApprovalNeeded.

        What was dispatched before and is still the latest is sent again without a second approval.
        """
        with self._lock:
            if policy == self._latest:
                self._check_stops(policy, self.stops())
                return self._send(policy, actor=actor)
            found = self.examine(policy, now_s=now_s, forecast=forecast)
            if found.refusal is not None:
                refusal = found.refusal
                self._store.write(lambda t: note_refusal(t, policy, str(refusal), actor=actor))
                raise found.refusal
            self._admit(policy, found, now_s=now_s, actor=actor)
            return self._send_new(policy, now_s=now_s, actor=actor)

    def hold(self, policy: SchedulingPolicy, *, now_s: float, actor: str) -> Examination:
        """Keep the policy as awaiting approval, even where the mode would let it pass without one.

        Raises PolicyInvalid or PolicyRejected where it fails a check, or is past that point already.
        """
        with self._lock:
            found = self.examine(policy, now_s=now_s)
            refusal = found.refusal
            if refusal is not None:
                self._store.write(lambda t: note_refusal(t, policy, str(refusal), actor=actor))
                raise refusal

            def work(transaction: Transaction) -> None:
                keep_waiting(transaction, policy, actor=actor)
                self._present(now_s).let_rest_lapse(transaction)

            self._store.write(work)
            return found

    def approve(
        self, version: int, *, policy_hash: str, now_s: float, approver: str, reason: str, lifetime_s: float
    ) -> Approval:
        """Approve a kept policy.

        Raises PolicyInvalid where the hash is not that version's, PolicyRejected where the policy is live no more.
        """

        def work(transaction: Transaction) -> Approval:
            self._present(now_s).require_live(require_waiting(transaction, version, policy_hash=policy_hash))
            return grant_approval(transaction, policy_hash, approver=approver, reason=reason, lifetime_s=lifetime_s)

        return self._store.write(work)

    def reject(self, version: int, *, actor: str, reason: str) -> None:
        """A person's no to a policy that was put forward or awaits approval; raises PolicyInvalid."""
        self._store.write(lambda t: reject_undecided(t, version, actor=actor, reason=reason))

    def rollback(
        self, to_version: int, *, now_s: float, lifetime_s: float, actor: str, reason: str, despite_kill: bool = False
    ) -> DispatchOutcome:
        """Bring every target back to what it had under an earlier version, as a new version.

        Not held back by freezes, windows, approvals or caps: the state was in force before. Raises PolicyRejected
        while the kill switch is on, but for an approver (`despite_kill`).
        """
        with self._lock:
            if self.stops().is_killed and not despite_kill:
                raise PolicyRejected(KILLED)
            changes = self._changes_towards(to_version)
            if not changes:
                raise PolicyInvalid(f"version {to_version} asks for nothing but what is in force")
            policy = SchedulingPolicy(
                version=self.next_version(),
                parent_version=self._desired.version,
                planner="rollback",
                valid_from_s=now_s,
                valid_until_s=now_s + lifetime_s,
                actions=changes,
            )
            self._store.write(lambda t: keep_rollback(t, policy, actor=actor))
            outcome = self._send_new(policy, now_s=now_s, actor=actor, undoing=f"rolled back to {to_version}: {reason}")
            if not outcome.is_reverted:
                self._watch.restart(policy.version)
            return outcome

    @property
    def last_good_version(self) -> int:
        """What an automatic rollback would go back to."""
        return self._watch.last_good_version

    def observe(
        self, utility: float, *, version: int, now_s: float, expected: float | None = None
    ) -> DispatchOutcome | None:
        """Tell the gate how the interval under a version went; the rollback's outcome where it was bad for too long.

        `expected` is what the last good version would have given in that interval, where somebody can tell. What
        waited for a person in vain lapses.
        """
        with self._lock:
            if self._present(now_s).has_outlived(self._store):
                self._store.write(self._present(now_s).let_rest_lapse)
            latest = self._latest
            trigger = RollbackTrigger() if latest is None else latest.rollback
            back_to = self._watch.observe(
                utility,
                version=version,
                drop=trigger.utility_drop,
                num_intervals=trigger.num_intervals,
                expected=expected,
            )
            if back_to is None or self.stops().is_killed:
                return None
            if latest is None or not self._changes_towards(back_to):
                self._watch.restart(self._desired.version)
                return None
            self._cooldown_start_s = now_s
            lifetime_s = latest.valid_until_s - latest.valid_from_s
            why = f"utility {utility:.4f} was worse than normal for {trigger.num_intervals} intervals"
            return self.rollback(back_to, now_s=now_s, lifetime_s=lifetime_s, actor="watch", reason=why)

    def reconcile(self) -> DispatchOutcome | None:
        """Send the latest state again to targets that missed it; None where there are none."""
        with self._lock:
            if self.stops().is_killed:
                return None
            if self._is_unsent and self._latest is not None:
                return self._send(self._latest, actor="restart")
            outcome = self._dispatcher.reconcile()
            if self._latest is not None:
                note_healed(self._store, self._latest, self._dispatcher.states)
            return outcome

    def resume(self) -> DispatchOutcome | None:
        """After a restart: take up the stored state and send it to whoever does not have it; None where it is new.

        While the kill switch is on it is sent once that is off.
        """
        with self._lock:
            desired, latest = stored_state(self._store, self._topology)
            if latest is None:
                return None
            self.follow(desired, latest.policy)
            self._watch.last_good_version = self._desired.version
            self._is_unsent = True
            if self.stops().is_killed:
                unsent, outcome = latest.policy, not_sent(latest.policy, self._desired)
                self._store.write(lambda t: note_outcome(t, unsent, outcome, actor="restart"))
                return outcome
            return self._send(latest.policy, actor="restart")

    def follow(self, desired: DesiredState, latest: SchedulingPolicy | None) -> None:
        """Take up what is in force already, and the policy that brought it; nothing is sent or noted."""
        with self._lock:
            self._desired = self._window_state = desired
            self._latest = latest

    def _changes_towards(self, version: int) -> tuple[ControlAction, ...]:
        """The actions that bring back what an earlier version left; raises PolicyInvalid."""
        earlier = state_as_of(self._store, self._topology, version)
        now = self._desired.actions
        return earlier.restoring(target for target, action in now.items() if earlier.actions.get(target) != action)

    def _check_stops(self, policy: SchedulingPolicy, stops: Stops) -> None:
        refuse_if_stopped(stops, {action.cell for action in policy.actions}, now_unix_s=self._store.clock())

    def _check_freshness(self, policy: SchedulingPolicy, now_s: float) -> None:
        self._present(now_s).require_live(policy)
        # Both ways, here and for windows: a clock that was ahead and is set right must not hold changes up for ever.
        if abs(now_s - self._cooldown_start_s) < self._settings.cooldown_s:
            until_s = self._cooldown_start_s + self._settings.cooldown_s
            raise PolicyRejected(f"cooling down after a rollback until {until_s:g} s, it is {now_s:g} s")

    def _present(self, now_s: float) -> Present:
        return Present(version=self._desired.version, now_s=now_s, window_s=self._settings.limits.window_s)

    def _is_window_over(self, now_s: float) -> bool:
        return abs(now_s - self._window_start_s) >= self._settings.limits.window_s

    def _check_limits(self, policy: SchedulingPolicy, now_s: float) -> None:
        since = self.window_state(now_s)
        check_limits(policy.actions, current=self._desired, since=since, limits=self._settings.limits)

    def _check_forecast(self, forecast: TwinForecast | None) -> None:
        if forecast is not None:
            refuse_if_worse(forecast, tolerance=self._settings.forecast_tolerance)
        elif self._settings.forecast_is_needed:
            raise PolicyRejected("forecast: no twin has tried this policy, and this installation asks for it")

    def _admit(self, policy: SchedulingPolicy, found: Examination, *, now_s: float, actor: str) -> None:
        """Keep the policy as dispatching, its approval used up in the same transaction; raises ApprovalNeeded."""

        def work(transaction: Transaction) -> bool:
            stored = keep_proposed(transaction, policy, actor=actor)
            # Used up even where the mode asks for none: a yes serves once.
            is_free = use_approval(transaction, stored.content_hash) is not None or not found.needs_approval
            status = PolicyStatus.DISPATCHING if is_free else PolicyStatus.AWAITING_APPROVAL
            if stored.status is not status:
                set_policy_status(transaction, policy.version, status, actor=actor)
            if is_free:
                let_waiting_lapse(transaction, actor=actor)
            else:
                self._present(now_s).let_rest_lapse(transaction)
            return is_free

        if not self._store.write(work):
            why = "; ".join(found.risk.reasons) or "the mode asks for it"
            raise ApprovalNeeded(
                f"version {policy.version} ({found.risk.tier.name.lower()} risk) awaits approval: {why}"
            )

    def _send_new(
        self, policy: SchedulingPolicy, *, now_s: float, actor: str, undoing: str | None = None
    ) -> DispatchOutcome:
        """`undoing` says why what was in force is undone; None where it is only followed."""
        before, latest = self._desired, self._latest
        if self._is_window_over(now_s):
            self._window_start_s, self._window_state = now_s, before
        self._desired = before.after(policy.actions, version=policy.version)
        self._latest = policy
        try:
            undone = None if undoing is None or latest is None else (latest.version, undoing)
            outcome = self._send(policy, actor=actor, undone=undone)
        except PolicyRejected as error:
            self._desired, self._latest = before, latest
            why = str(error)
            self._store.write(
                lambda t: set_policy_status(t, policy.version, PolicyStatus.REJECTED, actor=actor, reason=why)
            )
            raise
        if outcome.is_reverted:
            self._desired = DesiredState(version=policy.version, actions=before.actions, versions=before.versions)
            self._latest = latest
        return outcome

    def _send(self, policy: SchedulingPolicy, *, actor: str, undone: tuple[int, str] | None = None) -> DispatchOutcome:
        if self._is_unsent:
            outcome = self._dispatcher.restore(self._desired, policy)
            self._is_unsent = False
        else:
            outcome = self._dispatcher.dispatch(policy)
        self._store.write(lambda t: note_outcome(t, policy, outcome, actor=actor, undone=undone))
        return outcome

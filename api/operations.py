"""The running control loop as the REST face sees it: turns, goals, plans and live events."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from agent.cell_plan import CellPlan
from agent.changes import LIVE_S
from agent.control_loop import ControlLoop, TelemetrySource, Turn, network_time_s
from agent.control_room import plan_of
from agent.dispatch.desired import target_of
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import AgentError, ApprovalNeeded, DispatchTimeout
from agent.gate.drafting import draft
from agent.gate.gate import Examination, Gate
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.goal import Goal, GoalTerms, resolve_goals
from agent.planner import Decision
from agent.policy import SchedulingPolicy
from agent.store.approvals import withdraw_approval
from agent.store.decisions import save_decision
from agent.store.policies import PolicyStatus, save_policy
from agent.store.store import Store
from api.errors import NetworkSilent
from api.evidence import decision_record
from api.fulfilment import Fulfilment
from api.goal_book import GoalBook, StatusChange
from api.live_events import LiveEvent, LiveEvents
from api.metrics import Metrics
from api.planned_goals import PlannedGoals
from api.yardstick import Yardstick, mean_utility
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.operations")
_MOST_REMEMBERED = 120
_POLL_S = 0.01


class Operations:
    """Turns the loop in its own thread; everything it shares with requests is immutable or locked."""

    def __init__(
        self,
        *,
        loop: ControlLoop,
        gate: Gate,
        dispatcher: GatedDispatcher,
        store: Store,
        metrics: Metrics | None = None,
        on_status: Callable[[StatusChange], None] | None = None,
    ) -> None:
        self.gate = gate
        self.store = store
        self.dispatcher = dispatcher
        self.metrics = metrics or Metrics()
        self.on_status = on_status
        self._loop = loop
        self._loop.dispatcher = dispatcher
        self._planning = threading.Lock()
        self._is_resumed = True
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self.events = LiveEvents()
        self._turn: Turn | None = None
        self.history: deque[tuple[tuple[EdgeDigest, ...], int]] = deque(maxlen=_MOST_REMEMBERED)
        """Digests of the latest intervals and the version in force during each, the oldest first."""
        self._yardstick = Yardstick()
        self._fulfilment = Fulfilment()
        self.last_turn_unix_s = 0.0
        self.failure = ""
        """Why the loop stands still; empty while it turns."""
        self.silence = ""
        """Why the latest digests are not of now; empty where they are."""
        self.goals = GoalBook(store, self._status_changed)
        self._planned = PlannedGoals(store, self.goals)

    @property
    def topology(self) -> Topology:
        return self._loop.source.topology

    @property
    def source(self) -> TelemetrySource:
        """Where telemetry comes from."""
        return self._loop.source

    @property
    def planner_name(self) -> str:
        return self._loop.planner.name

    @property
    def interval_s(self) -> float:
        return self._loop.interval_s

    @property
    def digests(self) -> tuple[EdgeDigest, ...]:
        """Of the latest interval; empty before the first."""
        return () if self._turn is None else self._turn.digests

    @property
    def now_s(self) -> float:
        """Network time at the latest interval's end, as most edges' clocks have it."""
        return network_time_s(self.digests)

    def states(self) -> tuple[TargetState, ...]:
        return self.dispatcher.states()

    def start(self, *, pace_s: float, is_awaited: Callable[[], bool] = lambda: False) -> None:
        """In a thread: take up the stored state, then turn for ever, one interval every `pace_s` of wall-clock time.

        Not before `is_awaited` says no: what comes first should not share the processor with a first interval.
        """
        self._is_resumed = False
        arguments = (pace_s, is_awaited)
        self._thread = threading.Thread(target=self._run, args=arguments, name="control-loop", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Take up the stored state after a restart."""
        if self.gate.resume() is not None:
            self._take_up_plans()
            version = self.gate.desired.version
            heeded = self._planned.known_of_version(version)
            if heeded is not None:
                self.goals.planned(heeded, version=version)
        self._is_resumed = True

    def stop(self, *, within_s: float = 5.0) -> None:
        """Finish the turn that runs, then stop; one that takes longer is left behind and redone after a restart."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(within_s)

    def turn(self) -> Turn | None:
        """One interval: observe, decide, gate, dispatch, keep the evidence; None when the source has ended.

        Raises NetworkSilent where nobody tells of the interval.
        """
        with self._planning, self._noting_silence():
            goals = self._loop.goals = self.goals.live_goals()
            version, plans = self.gate.desired.version, dict(self._loop.current)
            turn = self._loop.turn()
        if turn is None:
            return None
        self._turn = turn
        self.goals.now_s = self.now_s
        self.history.append((turn.digests, version))
        self.last_turn_unix_s = self.store.clock()
        self._note_goals(turn, goals)
        self._observe(turn, version, plans)
        self.gate.reconcile()
        plans_now = {digest.cell: self._loop.plan_in_force(digest.cell) for digest in turn.digests}
        short = self._fulfilment.shortfalls(self.goals.unexpired(), turn.digests, turn.terms, plans_now)
        self.goals.note_shortfalls(short)
        self.goals.refresh(self.states())
        self._keep_evidence(turn)
        self.metrics.note_turn(turn, self.states())
        self.events.publish(LiveEvent(kind="interval", document=self.live_state()))
        return turn

    def propose(self, goals: tuple[Goal, ...] | None = None) -> tuple[SchedulingPolicy, Decision]:
        """A policy for the network as it is now, under the live goals or others; nothing is kept or sent."""
        digests = self.digests
        if not digests:
            raise AgentError("no digest has come in yet; ask again after the first interval")
        wanted = self.goals.live_goals() if goals is None else goals
        terms = tuple(resolve_goals(wanted, self.topology, digest) for digest in digests)
        decision = self.decide(digests, terms)
        lifetime_s = max(2 * self.interval_s, LIVE_S)
        policy = draft(self.gate, decision, self.topology, terms, now_s=self.now_s, lifetime_s=lifetime_s)
        self._planned.note(policy.content_hash(), wanted)
        return policy, decision

    def decide(self, digests: tuple[EdgeDigest, ...], terms: tuple[GoalTerms, ...]) -> Decision:
        """What the loop's planner would do; nothing is kept or sent."""
        self.require_heard()
        with self._planning:
            current = [self._loop.plan_in_force(digest.cell) for digest in digests]
            return self._loop.planner.decide(digests, terms, current)

    def keep(self, policy: SchedulingPolicy, *, actor: str, goals: tuple[Goal, ...] | None = None) -> None:
        """Note a proposal, so that it can be read, submitted and approved by its version and hash.

        `goals` are what it was planned with, where this is not known already.
        """
        if goals is not None:
            self._planned.note(policy.content_hash(), goals)
        heeded = self._planned.of(policy)
        self.store.write(lambda transaction: save_policy(transaction, policy, PolicyStatus.PROPOSED, actor=actor))
        self._planned.note_version(policy.version, heeded)

    def hold(self, policy: SchedulingPolicy, *, actor: str) -> Examination:
        """Keep the policy as awaiting approval; raises PolicyRejected, PolicyInvalid or NetworkSilent."""
        self.require_resumed()
        self.require_heard()
        heeded = self._planned.of(policy)
        found = self.gate.hold(policy, now_s=self.now_s, actor=actor)
        self._planned.note_version(policy.version, heeded)
        return found

    def approve(self, version: int, *, policy_hash: str, approver: str, reason: str, lifetime_s: float) -> str:
        """Grant an approval; the approval's id."""
        self.require_resumed()
        approval = self.gate.approve(
            version, policy_hash=policy_hash, now_s=self.now_s, approver=approver, reason=reason, lifetime_s=lifetime_s
        )
        self.events.publish(LiveEvent(kind="approval", document={"version": version, "approver": approver}))
        return approval.id

    def withdraw(self, approval_id: str, *, version: int, actor: str, reason: str) -> bool:
        """End an approval that nothing came of; False where it has served."""
        is_ended = self.store.write(lambda t: withdraw_approval(t, approval_id, actor=actor, reason=reason))
        if is_ended:
            self.events.publish(LiveEvent(kind="approval_withdrawn", document={"version": version, "approver": actor}))
        return is_ended

    def submit(self, policy: SchedulingPolicy, *, actor: str) -> DispatchOutcome:
        """Through the gate to the network; raises PolicyRejected, PolicyInvalid, ApprovalNeeded or NetworkSilent."""
        self.require_resumed()
        self.require_heard()
        heeded = self._planned.of(policy)
        try:
            outcome = self.gate.submit(policy, now_s=self.now_s, actor=actor)
        except ApprovalNeeded:
            self._planned.note_version(policy.version, heeded)
            raise
        self._after_dispatch(outcome, heeded)
        return outcome

    def rollback(self, to_version: int, *, actor: str, reason: str, despite_kill: bool = False) -> DispatchOutcome:
        """Back to what an earlier version left; while the kill switch is on only an approver's (`despite_kill`)."""
        self.require_resumed()
        lived_s = 2 * self.interval_s
        heeded = self._planned.of_version(to_version)
        outcome = self.gate.rollback(
            to_version, now_s=self.now_s, lifetime_s=lived_s, actor=actor, reason=reason, despite_kill=despite_kill
        )
        self._after_dispatch(outcome, heeded)
        return outcome

    def live_state(self) -> dict[str, object]:
        """A small summary for listeners."""
        return {
            "time_s": self.now_s,
            "policy_version": self.gate.desired.version,
            "is_killed": self.gate.stops().is_killed,
            "refusal": self.dispatcher.last_refusal,
            "targets": [
                {"cell": state.cell, "desired": state.desired_version, "reported": state.reported_version}
                for state in self.states()[:1000]
            ],
        }

    def require_resumed(self) -> None:
        """Raises DispatchTimeout while the stored state is being taken up after a start."""
        if not self._is_resumed:
            raise DispatchTimeout("the stored state is still being taken up; try again")

    def require_heard(self) -> None:
        """Raises NetworkSilent while the latest digests are not of now: nothing is planned or sent out on them."""
        if self.silence:
            age_s = self.metrics.digest_age_s()
            raise NetworkSilent(f"the latest digests are {age_s:.0f} s old: {self.silence}")

    @contextlib.contextmanager
    def _noting_silence(self) -> Iterator[None]:
        try:
            yield
        except NetworkSilent as error:
            self.silence = str(error)
            raise
        self.silence = ""

    def _run(self, pace_s: float, is_awaited: Callable[[], bool]) -> None:
        while is_awaited() and not self._stopping.is_set():
            self._wake.wait(_POLL_S)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                if not self._is_resumed:
                    self.resume()
                if self.turn() is None:
                    self.failure = "the telemetry source has ended"
                    return
                self.failure = ""
            except Exception as error:
                if self._stopping.is_set():
                    # It took longer than `stop` waits; what it began is taken up after a restart.
                    return
                # The loop must outlive a bad interval; the failure is shown by /readyz and counted.
                self.failure = f"{type(error).__name__}: {error}"
                self.metrics.failures.inc()
                LOG.exception("the interval failed")
            self._wake.wait(max(0.0, pace_s - (time.monotonic() - began)))

    def _is_desired(self, policy: SchedulingPolicy) -> bool:
        """False where the gate shortened a step of it."""
        desired = self.gate.desired.actions
        return all(desired.get(target_of(action)) == action for action in policy.actions)

    def _note_goals(self, turn: Turn, goals: tuple[Goal, ...]) -> None:
        """What a turn's policy was planned with, whether it went out or waits."""
        outcome = turn.outcome
        if turn.policy is None or outcome is None:
            return
        if not self.dispatcher.last_refusal:
            self._heed(outcome, goals)
            if not (outcome.is_reverted or self._is_desired(turn.policy)):
                self._take_up_plans()
        elif outcome.policy_version:
            self._planned.note_version(outcome.policy_version, goals)

    def _heed(self, outcome: DispatchOutcome, goals: tuple[Goal, ...]) -> None:
        """These goals are heeded from now on, unless what was planned with them was withdrawn again."""
        version = outcome.policy_version
        if outcome.is_reverted:
            self._planned.note_withdrawn(version)
            return
        self._planned.note_version(version, goals)
        self.goals.planned(goals, version=version)

    def _after_dispatch(self, outcome: DispatchOutcome, heeded: tuple[Goal, ...]) -> None:
        if not outcome.is_reverted:
            self._take_up_plans()
        self._heed(outcome, heeded)
        self.goals.refresh(self.states())
        self.events.publish(LiveEvent(kind="dispatch", document=self.live_state()))

    def _observe(self, turn: Turn, version: int, plans: dict[int, CellPlan]) -> None:
        """Hold the version that was in force during the interval to what the last good one would have given."""
        if not turn.digests:
            return
        expected = self._yardstick.expected(turn.digests, turn.terms)
        utility = mean_utility(turn.digests, turn.terms)
        last_good = self.gate.last_good_version
        outcome = self.gate.observe(utility, version=version, now_s=self.now_s, expected=expected)
        if outcome is not None:
            self._take_up_plans()
            self._heed(outcome, self._planned.of_version(last_good))
        elif self.gate.last_good_version == version:
            self._yardstick.learn(plans, turn.digests, turn.terms)

    def _take_up_plans(self) -> None:
        """Tell the loop what is in force, where that is not what it decided itself."""
        with self._planning:
            for cell in self.topology.cells:
                self._loop.current[cell.id] = plan_of(cell.id, self.gate.desired, self.topology)

    def _keep_evidence(self, turn: Turn) -> None:
        record = decision_record(turn, now_s=self.now_s, refusal=self.dispatcher.last_refusal)
        self.store.submit(lambda transaction: save_decision(transaction, record, actor="loop"))

    def _status_changed(self, change: StatusChange) -> None:
        goal = change.goal
        document: dict[str, object] = {"id": goal.id, "type": goal.policy_type, "status": goal.status}
        self.events.publish(LiveEvent(kind="goal_status", document=document))
        if self.on_status is not None:
            self.on_status(change)

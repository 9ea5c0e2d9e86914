"""Laws of the gate: nothing unapproved and nothing unsafe ever reaches the network."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import ValidationError

from agent.dispatch.desired import DesiredState
from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import AgentError
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Guarantee, Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.audit_trail import verify_trail
from agent.store.policies import find_policy
from agent.store.store import Store
from telemetry_sim.actions import Acknowledgement, ControlAction, SliceAction
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

IDS = (SliceId(sst=1), SliceId(sst=2))
TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name="c", x_m=cell, y_m=0) for cell in (0, 1)),
    slices=tuple(
        SliceProfile(id=i, name="s", five_qi=9, delay_budget_ms=10, in_time_target=0.9, packet_size_bits=1) for i in IDS
    ),
)


class ObservedNetwork:
    """Keeps what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[int, tuple[ControlAction, ...]]] = []

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        self.told.append((policy_version, actions))
        return tuple(
            Acknowledgement(cell=cell, policy_version=policy_version, applied=True)
            for cell in dict.fromkeys(action.cell for action in actions)
        )


def shares(cell: int, one: int) -> tuple[ControlAction, ...]:
    return (
        SliceAction(cell=cell, slice=IDS[0], min_pct=one),
        SliceAction(cell=cell, slice=IDS[1], min_pct=100 - one),
    )


def next_policy(gate: Gate, *actions: ControlAction) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=gate.next_version(),
        parent_version=gate.desired.version,
        planner="any",
        valid_from_s=0,
        valid_until_s=1e9,
        actions=actions,
    )


class ApprovalMachine(RuleBasedStateMachine):
    """Proposals, edits, replays, races, approvals, time and restarts in any order, beside a model of live approvals."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 1000.0
        self.store = Store.open("sqlite://", lambda: self.now_s)
        self.network = ObservedNetwork()
        self.seen: list[SchedulingPolicy] = []
        self.live: dict[str, list[float]] = {}
        self.sent: set[str] = set()
        self.restart()

    @rule()
    def restart(self) -> None:
        self.gate = Gate(
            store=self.store,
            dispatcher=InProcessDispatcher(self.network, TOPOLOGY),
            topology=TOPOLOGY,
            settings=GateSettings(limits=Limits(max_share_step_pct=100)),
        )
        self.gate.resume()

    @rule(cell=st.sampled_from((0, 1)), one=st.integers(0, 100))
    def propose(self, cell: int, one: int) -> None:
        policy = next_policy(self.gate, *shares(cell, one))
        self.seen.append(policy)
        self._submit(policy)

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        if self.seen:
            self._submit(data.draw(st.sampled_from(self.seen)))

    @rule(data=st.data(), one=st.integers(0, 100))
    def edit(self, data: st.DataObject, one: int) -> None:
        if self.seen:
            policy = data.draw(st.sampled_from(self.seen))
            self._submit(policy.model_copy(update={"actions": shares(0, one)}))

    @rule(data=st.data(), one=st.integers(0, 100))
    def race(self, data: st.DataObject, one: int) -> None:
        """The same policy twice and an edit of it, from three threads at once."""
        if not self.seen:
            return
        policy = data.draw(st.sampled_from(self.seen))
        edited = policy.model_copy(update={"actions": shares(0, one)})
        was_killed, was_latest = self.gate.stops().is_killed, self.gate.policy_in_force in (policy, edited)
        before = len(self.network.told)
        threads = [threading.Thread(target=self._try, args=(each,)) for each in (policy, edited, policy)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = self.network.told[before:]
        assert len(told) <= 1
        if told:
            assert not was_killed
            assert not was_latest
            stored = self.store.read(lambda c: find_policy(c, policy.version))
            assert stored is not None
            self._use_up(stored.content_hash)

    @rule(data=st.data(), lifetime_s=st.floats(1, 100))
    def approve(self, data: st.DataObject, lifetime_s: float) -> None:
        if not self.seen:
            return
        policy = data.draw(st.sampled_from(self.seen))
        with contextlib.suppress(AgentError):
            self.gate.approve(
                policy.version,
                policy_hash=policy.content_hash(),
                now_s=0,
                approver="ann",
                reason="fine",
                lifetime_s=lifetime_s,
            )
            self.live.setdefault(policy.content_hash(), []).append(self.now_s + lifetime_s)

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(is_killed=st.booleans())
    def switch(self, is_killed: bool) -> None:
        self.gate.set_stops(Stops(is_killed=is_killed), actor="ann")
        # What a restart could not send is sent now, as the loop does after every interval.
        self.gate.reconcile()

    @invariant()
    def trail_is_intact(self) -> None:
        assert self.store.read(verify_trail).is_intact

    def teardown(self) -> None:
        self.store.close()

    def _submit(self, policy: SchedulingPolicy) -> None:
        content_hash = policy.content_hash()
        was_killed = self.gate.stops().is_killed
        was_latest = self.gate.policy_in_force == policy
        before = len(self.network.told)
        self._try(policy)
        told = self.network.told[before:]
        if not told:
            return
        assert not was_killed
        assert all(version == policy.version for version, _ in told)
        stored = self.store.read(lambda c: find_policy(c, policy.version))
        assert stored is not None
        assert stored.content_hash == content_hash
        if not was_latest:
            self._use_up(content_hash)

    def _try(self, policy: SchedulingPolicy) -> None:
        with contextlib.suppress(AgentError):
            self.gate.submit(policy, now_s=0)

    def _use_up(self, content_hash: str) -> None:
        ends = self.live.get(content_hash, [])
        live = [end for end in ends if end > self.now_s]
        assert live, "dispatched without a live approval of this very policy"
        ends.remove(live[0])


ApprovalMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_nothing_is_dispatched_without_a_live_approval = ApprovalMachine.TestCase


LIMITS = Limits(guarantees=(Guarantee(slice=IDS[1], min_pct=15),), max_share_step_pct=30, window_s=10.0)


def random_action(rng: np.random.Generator) -> dict[str, object]:
    """Mostly plausible, sometimes absurd."""
    wild = rng.random() < 0.1
    cell = int(rng.integers(0, 2)) if rng.random() < 0.95 else int(rng.choice([2, 7, 65_535]))
    if rng.random() < 0.2:
        return {
            "kind": "cell",
            "cell": cell,
            "tx_power_step_db": int(rng.integers(-12, 6)) if wild else int(rng.integers(-9, 4)),
            "sleep": bool(rng.random() < 0.1),
            "handover_offset_db": int(rng.integers(-6, 7)),
        }
    low = int(rng.integers(0, 101)) if not wild else int(rng.integers(-50, 500))
    return {
        "kind": "slice",
        "cell": cell,
        "slice": {"sst": int(rng.integers(1, 3)) if rng.random() < 0.97 else 9},
        "min_pct": low,
        "dedicated_pct": int(rng.integers(0, max(1, low + 1))) if rng.random() < 0.3 else 0,
        "max_pct": int(rng.integers(low, 101)) if 0 <= low <= 100 else 100,
        "compute_pct": int(rng.integers(0, 101)) if rng.random() < 0.3 else 0,
    }


def near_action_pair(rng: np.random.Generator, state: DesiredState) -> list[dict[str, object]]:
    """A small step from the state, around the bounds: often allowed, often just not."""
    cell = int(rng.integers(0, 2))
    was = state.actions[cell, IDS[0]]
    one = int(np.clip(was.min_pct + rng.integers(-34, 35), 0, 100)) if isinstance(was, SliceAction) else 50
    two = max(0, 100 - one + int(rng.integers(-3, 2)))
    return [
        {"kind": "slice", "cell": cell, "slice": {"sst": 1}, "min_pct": one},
        {"kind": "slice", "cell": cell, "slice": {"sst": 2}, "min_pct": two},
    ]


def run_fuzz(num_plans: int, seed: int) -> dict[str, int]:
    """Throw plans at an autonomous gate; counts breaches of the bounds in what the network is told."""
    rng = np.random.default_rng(seed)
    network = ObservedNetwork()
    counts = {"plans": 0, "dispatched": 0, "breaches": 0}
    state = window_state = DesiredState.initial(TOPOLOGY)
    now_s, window_start_s = 0.0, -10.0
    with Store.open("sqlite://", lambda: now_s) as store:
        gate = Gate(
            store=store,
            dispatcher=InProcessDispatcher(network, TOPOLOGY),
            topology=TOPOLOGY,
            settings=GateSettings(limits=LIMITS, default_stops=Stops(mode=Mode.AUTONOMOUS)),
        )
        for _ in range(num_plans):
            counts["plans"] += 1
            now_s += float(rng.choice([0.0, 1.0, 10.0]))
            document = {
                "version": gate.desired.version + int(rng.choice([1, 1, 1, 2, 0])),
                "parent_version": gate.desired.version - int(rng.random() < 0.05),
                "planner": "fuzz",
                "valid_from_s": now_s,
                "valid_until_s": now_s + 10,
                "actions": near_action_pair(rng, state)
                if rng.random() < 0.3
                else [random_action(rng) for _ in range(int(rng.integers(1, 5)))],
            }
            before = len(network.told)
            with contextlib.suppress(AgentError, ValidationError):
                gate.submit(SchedulingPolicy.model_validate(document), now_s=now_s)
            for _, actions in network.told[before:]:
                counts["dispatched"] += 1
                if now_s >= window_start_s + LIMITS.window_s:
                    window_start_s, window_state = now_s, state
                state = state.after(actions, version=counts["dispatched"])
                counts["breaches"] += breaks_a_bound(state, window_state)
    return counts


def breaks_a_bound(state: DesiredState, window_state: DesiredState) -> bool:
    """An independent reading of the bounds, over the state that the network ends up in."""
    for cell in {cell for cell, _ in state.actions}:
        if cell not in (0, 1):
            return True
        slices = {a.slice: a for a in state.of_cell(cell) if isinstance(a, SliceAction)}
        if set(slices) - set(IDS) or slices[IDS[1]].min_pct < 15:
            return True
        for field in ("min_pct", "dedicated_pct", "compute_pct"):
            if sum(getattr(a, field) for a in slices.values()) > 100:
                return True
        for slice_id, action in slices.items():
            was = window_state.actions[cell, slice_id]
            if abs(action.min_pct - was.min_pct) > 30 or abs(action.dedicated_pct - was.dedicated_pct) > 30:
                return True
    return False


def test_no_random_plan_breaks_a_bound_at_the_dispatcher():
    counts = run_fuzz(3_000, seed=7)
    assert counts["dispatched"] > 100
    assert counts["breaches"] == 0


@pytest.mark.slow
def test_none_of_a_hundred_thousand_plans_breaks_a_bound():
    assert run_fuzz(100_000, seed=1)["breaches"] == 0

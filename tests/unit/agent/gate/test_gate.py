"""The gate, from plan to network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import ApprovalNeeded, PolicyInvalid, PolicyRejected
from agent.gate.forecast import TwinForecast
from agent.gate.gate import Gate, GateSettings
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import MaintenanceWindow, Stops
from agent.policy import RollbackTrigger, SchedulingPolicy
from agent.store.audit_trail import read_trail, verify_trail
from agent.store.policies import PolicyStatus, find_policy
from agent.store.store import Store
from telemetry_sim.actions import Acknowledgement, CellAction, ControlAction, SliceAction
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

ONE, TWO = SliceId(sst=1), SliceId(sst=2)
TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name="c", x_m=cell, y_m=0) for cell in (10, 11)),
    slices=tuple(
        SliceProfile(id=i, name="s", five_qi=9, delay_budget_ms=10, in_time_target=0.9, packet_size_bits=1)
        for i in (ONE, TWO)
    ),
)
SETTINGS = GateSettings(limits=Limits(max_share_step_pct=60))


class RecordingNetwork:
    def __init__(self) -> None:
        self.down: set[int] = set()
        self.state: dict[tuple[int, object], ControlAction] = {}
        self.versions: list[int] = []

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        self.versions.append(policy_version)
        for action in actions:
            if action.cell not in self.down:
                self.state[action.cell, getattr(action, "slice", None)] = action
        return tuple(
            Acknowledgement(cell=cell, policy_version=policy_version, applied=cell not in self.down)
            for cell in dict.fromkeys(action.cell for action in actions)
        )


class SettableClock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(tmp_path, clock) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db", clock) as opened:
        yield opened


@pytest.fixture
def network() -> RecordingNetwork:
    return RecordingNetwork()


def make_gate(store: Store, network: RecordingNetwork, settings: GateSettings = SETTINGS) -> Gate:
    return Gate(store=store, dispatcher=InProcessDispatcher(network, TOPOLOGY), topology=TOPOLOGY, settings=settings)


@pytest.fixture
def gate(store, network) -> Gate:
    made = make_gate(store, network)
    made.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    return made


def shares(one: int, two: int, cell: int = 10) -> tuple[SliceAction, ...]:
    return (SliceAction(cell=cell, slice=ONE, min_pct=one), SliceAction(cell=cell, slice=TWO, min_pct=two))


def policy(version: int, *actions: ControlAction, parent: int | None = None, at_s: float = 0.0) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1 if parent is None else parent,
        planner="optimiser",
        valid_from_s=at_s,
        valid_until_s=at_s + 100.0,
        actions=actions or shares(60, 40),
    )


def status(store: Store, version: int) -> PolicyStatus:
    return store.read(lambda c: find_policy(c, version)).status


def test_the_default_is_suggest_only_so_nothing_is_dispatched_unattended(store, network):
    gate = make_gate(store, network)
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(1), now_s=0)
    assert network.versions == []
    assert status(store, 1) is PolicyStatus.AWAITING_APPROVAL


def test_an_autonomous_gate_dispatches_what_passes_and_keeps_the_state(gate, network, store):
    assert gate.submit(policy(1), now_s=0).is_enforced
    assert network.versions == [1]
    assert status(store, 1) is PolicyStatus.ENFORCED
    assert gate.desired.version == 1


def test_high_risk_waits_for_a_person_even_in_autonomous_mode(gate, network):
    with pytest.raises(ApprovalNeeded, match="goes to sleep"):
        gate.submit(policy(1, CellAction(cell=10, sleep=True)), now_s=0)
    assert network.versions == []


def test_an_approved_policy_goes_out_once(gate, network, store):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), approver="ann", reason="fine", lifetime_s=60)
    assert gate.submit(wanted, now_s=0).is_enforced
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(2), now_s=0)
    assert network.versions == [1]


def test_an_approval_does_not_fit_a_policy_that_was_edited_since(gate, network):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), approver="ann", reason="fine", lifetime_s=60)
    with pytest.raises(PolicyInvalid, match="taken"):
        gate.submit(policy(1, *shares(90, 10)), now_s=0)
    assert network.versions == []


def test_an_approval_that_expired_lets_nothing_through(gate, network, clock):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    wanted = policy(1)
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    gate.approve(1, policy_hash=wanted.content_hash(), approver="ann", reason="fine", lifetime_s=60)
    clock.now_s += 61
    with pytest.raises(ApprovalNeeded):
        gate.submit(wanted, now_s=0)
    assert network.versions == []


def test_only_a_waiting_policy_can_be_approved_and_only_by_its_hash(gate):
    with pytest.raises(PolicyInvalid, match="unknown"):
        gate.approve(1, policy_hash="0" * 64, approver="ann", reason="fine", lifetime_s=60)
    gate.submit(policy(1), now_s=0)
    with pytest.raises(PolicyInvalid, match="has hash"):
        gate.approve(1, policy_hash="0" * 64, approver="ann", reason="fine", lifetime_s=60)
    with pytest.raises(PolicyInvalid, match="not awaiting_approval"):
        gate.approve(1, policy_hash=policy(1).content_hash(), approver="ann", reason="fine", lifetime_s=60)


def test_a_rejected_policy_stays_out(gate, network):
    gate.set_stops(Stops(mode=Mode.SUGGEST_ONLY), actor="ann")
    with pytest.raises(ApprovalNeeded):
        gate.submit(policy(1), now_s=0)
    gate.reject(1, actor="ann", reason="too bold")
    with pytest.raises(PolicyRejected, match="rejected already"):
        gate.submit(policy(1), now_s=0)
    assert network.versions == []


@pytest.mark.parametrize(
    ("stops", "match"),
    [
        (Stops(mode=Mode.AUTONOMOUS, is_killed=True), "kill switch"),
        (Stops(mode=Mode.AUTONOMOUS, freeze_until_unix_s=1_000_001.0), "frozen"),
        (
            Stops(
                mode=Mode.AUTONOMOUS,
                maintenance=(MaintenanceWindow(start_unix_s=0, end_unix_s=2_000_000.0, cells=(10,)),),
            ),
            "under maintenance",
        ),
    ],
)
def test_a_stop_holds_changes_back_and_survives_a_restart(gate, network, store, stops, match):
    gate.set_stops(stops, actor="ann")
    with pytest.raises(PolicyRejected, match=match):
        gate.submit(policy(1), now_s=0)
    with pytest.raises(PolicyRejected, match=match):
        make_gate(store, network).submit(policy(1), now_s=0)
    assert network.versions == []


def test_cells_outside_the_maintenance_window_go_on(gate):
    window = MaintenanceWindow(start_unix_s=0, end_unix_s=2_000_000.0, cells=(10,))
    gate.set_stops(Stops(mode=Mode.AUTONOMOUS, maintenance=(window,)), actor="ann")
    assert gate.submit(policy(1, *shares(60, 40, cell=11)), now_s=0).is_enforced


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (policy(1, *shares(60, 40, cell=99)), "unknown"),
        (policy(1, SliceAction(cell=10, slice=SliceId(sst=9), min_pct=1)), "unknown"),
        (policy(2, parent=1), "planned against 1, in force is 0"),
        (policy(1, shares(60, 40)[0]), "would sum to 110"),
    ],
)
def test_a_policy_that_does_not_fit_the_network_is_refused(gate, network, wanted, match):
    with pytest.raises((PolicyRejected, PolicyInvalid), match=match):
        gate.submit(wanted, now_s=0)
    assert network.versions == []
    assert gate.desired.version == 0


def test_an_expired_policy_is_refused(gate):
    with pytest.raises(PolicyRejected, match="expired"):
        gate.submit(policy(1), now_s=100.0)


def test_the_twins_verdict_keeps_a_worse_policy_out(gate):
    worse = TwinForecast(candidate=(0.50, 0.52, 0.51), current=(0.70, 0.71, 0.72))
    with pytest.raises(PolicyRejected, match="would fall"):
        gate.submit(policy(1), now_s=0, forecast=worse)
    close = TwinForecast(candidate=(0.70, 0.70, 0.70), current=(0.70, 0.71, 0.70))
    assert gate.submit(policy(1), now_s=0, forecast=close).is_enforced


@pytest.mark.parametrize(
    "forecast",
    [
        TwinForecast(candidate=(), current=()),
        TwinForecast(candidate=(1.0,), current=(1.0, 1.0)),
        TwinForecast(candidate=(float("nan"),), current=(0.1,)),
    ],
)
def test_a_forecast_that_says_nothing_is_a_refusal(gate, forecast):
    with pytest.raises(PolicyRejected, match="finite utilities"):
        gate.submit(policy(1), now_s=0, forecast=forecast)


def test_where_a_twin_is_asked_for_a_policy_without_forecast_is_refused(store, network):
    gate = make_gate(store, network, GateSettings(forecast_is_needed=True, default_stops=Stops(mode=Mode.AUTONOMOUS)))
    with pytest.raises(PolicyRejected, match="no twin"):
        gate.submit(policy(1), now_s=0)


def test_splitting_a_change_into_many_policies_gains_nothing_within_a_window(store, network):
    settings = GateSettings(limits=Limits(max_share_step_pct=10), default_stops=Stops(mode=Mode.AUTONOMOUS))
    gate = make_gate(store, network, settings)
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    with pytest.raises(PolicyRejected, match="change by 11"):
        gate.submit(policy(2, *shares(61, 39)), now_s=9)
    assert gate.submit(policy(2, *shares(70, 30)), now_s=10).is_enforced


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


def test_an_operator_can_go_back_to_any_version_even_when_killed(gate, network):
    gate.submit(policy(1, *shares(60, 40)), now_s=0)
    gate.submit(policy(2, *shares(70, 30)), now_s=20)
    gate.set_stops(Stops(is_killed=True), actor="ann")
    gate.rollback(1, now_s=30, lifetime_s=60, actor="ann", reason="complaints")
    assert network.state[10, ONE].min_pct == 60
    gate.rollback(0, now_s=40, lifetime_s=60, actor="ann", reason="start over")
    assert network.state[10, ONE].min_pct == 50
    with pytest.raises(PolicyInvalid, match="unknown"):
        gate.rollback(99, now_s=40, lifetime_s=60, actor="ann", reason="typo")


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
    assert status(store, 1) is PolicyStatus.SUPERSEDED


def test_every_refusal_is_in_an_intact_trail(gate, store):
    with pytest.raises(PolicyRejected):
        gate.submit(policy(1), now_s=500.0)
    assert [entry.kind for entry in store.read(lambda c: list(read_trail(c)))][-1] == "policy_refused"
    assert store.read(verify_trail).is_intact


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

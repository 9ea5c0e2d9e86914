"""A target's side of the desired state."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.dispatch.desired import DesiredState
from telemetry_sim.actions import CellAction, ControlAction
from telemetry_sim.desired_state import StateKeeper, initial_actions
from telemetry_sim.mqtt_protocol import DesiredDocument, ReportState
from telemetry_sim.scenarios import scenario


def document(
    version: int, *, is_confirmed: bool = False, revision: int | None = None, cell: int = 1
) -> DesiredDocument:
    return DesiredDocument(
        cell=cell,
        version=version,
        revision=2 * version if revision is None else revision,
        is_confirmed=is_confirmed,
        confirm_within_s=10.0,
        valid_until_s=60.0,
        actions=(CellAction(cell=1, handover_offset_db=version % 7),),
    )


class Applied:
    def __init__(self) -> None:
        self.versions: list[int] = []
        self.refusal = ""

    def __call__(self, actions: tuple[ControlAction, ...], version: int) -> str:
        del actions
        if self.refusal:
            return self.refusal
        self.versions.append(version)
        return ""


def test_a_trial_that_is_confirmed_stays():
    applied = Applied()
    keeper = StateKeeper(1, applied)
    assert keeper.desire(document(1), now_s=0.0).state is ReportState.TRIAL
    assert keeper.confirm(1).state is ReportState.CONFIRMED
    assert keeper.tick(now_s=100.0) is None
    assert (keeper.version, applied.versions) == (1, [1])


def test_a_trial_that_nobody_confirms_goes_back():
    applied = Applied()
    keeper = StateKeeper(1, applied)
    keeper.desire(document(1, is_confirmed=True), now_s=0.0)
    keeper.desire(document(2), now_s=5.0)
    assert keeper.tick(now_s=14.9) is None
    report = keeper.tick(now_s=15.0)
    assert (report.state, report.version) == (ReportState.REVERTED, 1)
    assert applied.versions == [1, 2, 1]


def test_a_first_trial_that_nobody_confirms_goes_back_to_the_initial_actions():
    applied = []
    initial = (CellAction(cell=1),)
    keeper = StateKeeper(1, lambda actions, version: applied.append((actions, version)) or "", initial=initial)
    keeper.desire(document(1), now_s=0.0)
    assert keeper.tick(now_s=10.0).version == 0
    assert applied[-1] == (initial, 0)


def test_a_cell_begins_with_what_the_dispatcher_believes_it_begins_with():
    topology = scenario("smart-city", 30).topology
    for cell in topology.cells:
        assert initial_actions(cell.id, topology.slices) == DesiredState.initial(topology).of_cell(cell.id)


def test_a_confirmation_that_comes_late_brings_the_trial_back():
    applied = Applied()
    keeper = StateKeeper(1, applied)
    keeper.desire(document(1), now_s=0.0)
    keeper.tick(now_s=20.0)
    assert keeper.confirm(1).state is ReportState.CONFIRMED
    assert applied.versions == [1, 0, 1]


def test_what_was_confirmed_before_it_came_is_no_trial():
    keeper = StateKeeper(1, Applied())
    keeper.confirm(3)
    assert keeper.desire(document(3), now_s=0.0).state is ReportState.CONFIRMED


def test_the_same_document_again_is_answered_and_not_applied_twice():
    applied = Applied()
    keeper = StateKeeper(1, applied)
    first = keeper.desire(document(1), now_s=0.0)
    assert keeper.desire(document(1), now_s=1.0) == first
    assert applied.versions == [1]


def test_a_withdrawal_is_newer_than_the_trial_though_its_version_is_older():
    keeper = StateKeeper(1, Applied())
    keeper.desire(document(1, is_confirmed=True), now_s=0.0)
    keeper.desire(document(2), now_s=1.0)
    keeper.desire(document(1, is_confirmed=True, revision=5), now_s=2.0)
    assert keeper.version == 1
    assert keeper.desire(document(2), now_s=3.0) is None


def test_a_refusal_says_why_and_keeps_what_was_in_force():
    applied = Applied()
    keeper = StateKeeper(1, applied)
    keeper.desire(document(1, is_confirmed=True), now_s=0.0)
    applied.refusal = "no room"
    report = keeper.desire(document(2), now_s=1.0)
    assert (report.state, report.reason, report.version) == (ReportState.REFUSED, "no room", 1)


def test_a_document_for_another_cell_is_ignored():
    assert StateKeeper(1, Applied()).desire(document(1, cell=2), now_s=0.0) is None


@given(st.lists(st.integers(1, 6), max_size=20), st.lists(st.booleans(), max_size=20))
def test_duplicated_and_reordered_messages_end_with_the_newest_state(order, confirmed):
    """Any mix of deliveries, then the newest once more (it is retained), ends in the same place."""
    keeper = StateKeeper(1, Applied())
    for position, version in enumerate(order):
        is_confirmed = confirmed[position] if position < len(confirmed) else False
        keeper.desire(document(version, is_confirmed=is_confirmed), now_s=float(position))
    newest = max(order, default=0) + 1
    keeper.desire(document(newest), now_s=50.0)
    keeper.confirm(newest)
    assert keeper.version == newest
    assert keeper.tick(now_s=1000.0) is None

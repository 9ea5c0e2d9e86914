"""One suite for every dispatcher."""

from __future__ import annotations

import pytest

from agent.dispatch.desired import DesiredState
from agent.errors import PolicyRejected
from telemetry_sim.mqtt_protocol import (
    CONFIRMATION_TOPIC,
    ReportDocument,
    ReportState,
    desired_topic,
    reported_topic,
)
from tests.dispatcher_stage import (
    URGENT,
    full,
    in_force,
    mqtt_stage,
    policy,
    publish_raw,
    share,
    small_topology,
    stage,
    wait_until,
)

__all__ = ["mqtt_stage", "stage"]


def test_a_policy_is_enforced_once_every_target_applied_it(stage):
    outcome = stage.dispatcher.dispatch(full(1, 60, cells=(10, 11)))
    assert outcome.is_enforced
    assert {answer.cell for answer in outcome.acknowledgements} == {10, 11}
    assert (in_force(stage, 10), in_force(stage, 11)) == (60, 60)


def test_a_policy_is_not_enforced_while_one_target_has_not_applied_it(stage):
    stage.take_down(11)
    outcome = stage.dispatcher.dispatch(full(1, 60))
    assert not outcome.is_enforced
    assert not outcome.is_reverted
    assert [answer.cell for answer in outcome.refusals] == [11]
    assert in_force(stage, 10) == 60


def test_sending_the_same_policy_again_applies_nothing_twice(stage):
    first = stage.dispatcher.dispatch(full(1, 60))
    num_applied = stage.network.num_applied
    assert stage.dispatcher.dispatch(full(1, 60)) == first
    assert stage.network.num_applied == num_applied


def test_a_healed_target_catches_up(stage):
    stage.take_down(11)
    stage.dispatcher.dispatch(full(1, 60))
    stage.dispatcher.dispatch(full(2, 70, cells=(10,)))
    stage.bring_back(11)
    stage.dispatcher.reconcile()
    assert in_force(stage, 11) == 60
    assert all(state.is_settled for state in stage.dispatcher.states())
    assert stage.dispatcher.reconcile() is None


def test_a_later_policy_carries_what_its_target_missed_before(stage):
    stage.take_down(11)
    stage.dispatcher.dispatch(full(1, 60))
    stage.bring_back(11)
    stage.dispatcher.dispatch(policy(2, share(11, 50)))
    assert (in_force(stage, 11), in_force(stage, 11, URGENT)) == (50, 40)


def test_an_older_version_is_refused(stage):
    stage.dispatcher.dispatch(full(2, 60))
    with pytest.raises(PolicyRejected, match="stale"):
        stage.dispatcher.dispatch(full(1, 60))


def test_the_same_version_with_another_content_is_refused(stage):
    stage.dispatcher.dispatch(full(1, 60))
    with pytest.raises(PolicyRejected, match="another content"):
        stage.dispatcher.dispatch(full(1, 61))


def test_an_unknown_target_is_refused_and_nothing_is_applied(stage):
    with pytest.raises(PolicyRejected, match="999"):
        stage.dispatcher.dispatch(policy(1, share(10, 60), share(999, 60)))
    assert in_force(stage, 10) is None
    assert all(state.desired_version == 0 for state in stage.dispatcher.states())


def test_states_show_desired_and_reported_versions_of_every_cell(stage):
    stage.take_down(11)
    stage.dispatcher.dispatch(full(1, 60, cells=(10, 11)))
    by_cell = {state.cell: (state.desired_version, state.reported_version) for state in stage.dispatcher.states()}
    assert by_cell == {10: (1, 1), 11: (1, 0), 12: (0, 0)}


def test_a_policy_without_actions_is_enforced_at_once(stage):
    assert stage.dispatcher.dispatch(policy(1)).is_enforced


def test_a_restarted_dispatcher_takes_up_the_state(stage):
    wanted = full(1, 60)
    stage.dispatcher.dispatch(wanted)
    stage.restart_dispatcher()
    desired = DesiredState.initial(small_topology()).after(wanted.actions, version=1)
    assert stage.dispatcher.restore(desired, wanted).is_enforced
    assert stage.dispatcher.dispatch(full(2, 70)).is_enforced
    assert in_force(stage, 12) == 70


@pytest.mark.broker
def test_one_refusal_withdraws_the_policy_from_all(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    mqtt_stage.network.down.add(12)
    outcome = mqtt_stage.dispatcher.dispatch(full(2, 70))
    assert outcome.is_reverted
    assert not outcome.is_enforced
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [60, 60, 60]
    mqtt_stage.network.down.clear()
    assert mqtt_stage.dispatcher.dispatch(full(3, 80)).is_enforced


@pytest.mark.broker
def test_a_refusing_canary_keeps_the_policy_from_the_others(mqtt_stage):
    mqtt_stage.network.down.add(10)
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    assert [in_force(mqtt_stage, cell) for cell in (11, 12)] == [None, None] or in_force(mqtt_stage, 11) == 50


@pytest.mark.broker
def test_targets_revert_by_themselves_when_nobody_confirms(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    document = mqtt_stage.dispatcher._ledger.documents[10].model_copy(
        update={
            "version": 9,
            "revision": 18,
            "is_confirmed": False,
            "confirm_within_s": 0.2,
            "actions": (share(10, 90), share(10, 10, URGENT)),
        }
    )
    publish_raw(mqtt_stage.address, desired_topic(10), document.model_dump_json().encode())
    wait_until(lambda: in_force(mqtt_stage, 10) == 90)
    wait_until(lambda: in_force(mqtt_stage, 10) == 60)


@pytest.mark.broker
@pytest.mark.parametrize("payload", [b"", b"{", b"null", b"\xff" * 100, b'{"cell": 10}', b"[" * 50_000])
def test_unreadable_messages_are_counted_and_change_nothing(mqtt_stage, payload):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    publish_raw(mqtt_stage.address, reported_topic(10), payload)
    publish_raw(mqtt_stage.address, desired_topic(10), payload)
    wait_until(lambda: mqtt_stage.dispatcher.num_quarantined == 1)
    assert in_force(mqtt_stage, 10) == 60
    assert mqtt_stage.dispatcher.dispatch(full(2, 70)).is_enforced


@pytest.mark.broker
def test_a_report_about_another_cell_than_its_topic_is_quarantined(mqtt_stage):
    forged = ReportDocument(cell=11, version=5, answers=10, state=ReportState.CONFIRMED)
    publish_raw(mqtt_stage.address, reported_topic(10), forged.model_dump_json().encode())
    wait_until(lambda: mqtt_stage.dispatcher.num_quarantined == 1)
    assert all(state.reported_version == 0 for state in mqtt_stage.dispatcher.states())


@pytest.mark.broker
def test_a_killed_broker_loses_nothing_that_was_enforced(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    mqtt_stage.broker.kill()
    assert not mqtt_stage.dispatcher.dispatch(full(2, 70)).is_enforced
    mqtt_stage.broker.start()
    # A broker that died sent no last wills, so the first policies may wait in vain for targets on their way back.
    versions = iter(range(3, 20))
    wait_until(lambda: mqtt_stage.dispatcher.dispatch(full(next(versions), 80)).is_enforced, timeout_s=30)
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [80, 80, 80]


@pytest.mark.broker
def test_what_the_broker_refuses_to_take_is_told_for_its_target(mqtt_stage):
    assert mqtt_stage.dispatcher.dispatch(full(1, 60)).is_enforced
    mqtt_stage.broker.deny(desired_topic(11))
    outcome = mqtt_stage.dispatcher.dispatch(full(2, 70))
    assert outcome.is_reverted
    reasons = {answer.cell: answer.reason for answer in outcome.refusals}
    assert "not authorized (0x87)" in reasons[11]
    assert "because of cell 11" in reasons[10]
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [60, 60, 60]
    assert "0x87" in mqtt_stage._state(11).reason
    mqtt_stage.broker.deny()
    assert mqtt_stage.dispatcher.dispatch(full(3, 80)).is_enforced
    assert mqtt_stage._state(11).reason == ""


@pytest.mark.broker
def test_what_the_broker_refuses_for_a_target_that_is_away_is_told_too(mqtt_stage):
    mqtt_stage.take_down(11)
    mqtt_stage.broker.deny(desired_topic(11))
    outcome = mqtt_stage.dispatcher.dispatch(full(1, 60))
    assert outcome.is_reverted
    assert "0x87" in {answer.cell: answer.reason for answer in outcome.refusals}[11]


@pytest.mark.broker
def test_a_policy_whose_confirmation_the_broker_refuses_is_withdrawn(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    mqtt_stage.broker.deny(CONFIRMATION_TOPIC)
    outcome = mqtt_stage.dispatcher.dispatch(full(2, 70))
    assert outcome.is_reverted
    assert "0x87" in outcome.refusals[0].reason
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [60, 60, 60]
    mqtt_stage.broker.deny()
    assert mqtt_stage.dispatcher.dispatch(full(3, 80)).is_enforced


@pytest.mark.broker
def test_a_target_whose_reports_the_broker_refuses_says_that_it_is_away_and_why(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    mqtt_stage.broker.deny(reported_topic(11))
    assert not mqtt_stage.dispatcher.dispatch(full(2, 70)).is_enforced
    wait_until(lambda: not mqtt_stage._state(11).is_online)
    assert "0x87" in mqtt_stage.targets[11].refusal
    mqtt_stage.broker.deny()
    wait_until(lambda: mqtt_stage._state(11).is_online)
    assert mqtt_stage.targets[11].refusal == ""
    assert mqtt_stage.dispatcher.dispatch(full(3, 80)).is_enforced

"""Dispatchers beside a store that has not seen all that targets were told, and under a gate that heals."""

from __future__ import annotations

import pytest

from agent.dispatch.port import DispatchOutcome
from agent.errors import PolicyRejected
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.store.policies import PolicyStatus
from agent.store.store import Store
from tests.dispatcher_stage import (
    MqttStage,
    full,
    in_force,
    mqtt_stage,
    small_topology,
    stage,
    wait_until,
)
from tests.gate_stage import status

__all__ = ["mqtt_stage", "stage"]


def gate_over(stage: MqttStage, store: Store) -> Gate:
    settings = GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.AUTONOMOUS))
    return Gate(store=store, dispatcher=stage.dispatcher, topology=small_topology(), settings=settings)


def submit(gate: Gate, pct: int) -> DispatchOutcome:
    """As the next version."""
    wanted = full(gate.next_version(), pct).model_copy(update={"parent_version": gate.desired.version})
    return gate.submit(wanted, now_s=10.0)


def test_a_dispatcher_knows_the_newest_version_that_a_target_obeyed(stage):
    assert stage.dispatcher.newest_version() == 0
    stage.dispatcher.dispatch(full(5, 60, cells=(10, 11)))
    stage.dispatcher.dispatch(full(7, 70, cells=(10,)))
    assert stage.dispatcher.newest_version() == 7


@pytest.mark.broker
def test_a_new_store_brings_policies_to_targets_that_obeyed_another(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(7, 60))
    mqtt_stage.restart_dispatcher()
    with Store.open("sqlite://") as store:
        assert submit(gate_over(mqtt_stage, store), 80).is_enforced
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [80, 80, 80]


@pytest.mark.broker
def test_a_restarted_dispatcher_knows_of_a_version_that_was_withdrawn(mqtt_stage):
    mqtt_stage.network.down.add(12)
    assert mqtt_stage.dispatcher.dispatch(full(7, 60)).is_reverted
    mqtt_stage.restart_dispatcher()
    assert mqtt_stage.dispatcher.newest_version() == 7


@pytest.mark.broker
def test_after_a_withdrawal_what_is_in_force_can_be_sent_again_and_nothing_else(mqtt_stage):
    mqtt_stage.dispatcher.dispatch(full(1, 60))
    mqtt_stage.network.down.add(12)
    assert mqtt_stage.dispatcher.dispatch(full(2, 70)).is_reverted
    assert mqtt_stage.dispatcher.dispatch(full(2, 70)).is_reverted
    assert mqtt_stage.dispatcher.dispatch(full(1, 60)).is_enforced
    with pytest.raises(PolicyRejected, match="stale"):
        mqtt_stage.dispatcher.dispatch(full(1, 90))


@pytest.mark.parametrize("is_withdrawn_between", [False, True])
@pytest.mark.broker
def test_a_version_is_enforced_once_a_cell_that_was_away_obeys_it(mqtt_stage, is_withdrawn_between):
    with Store.open("sqlite://") as store:
        gate = gate_over(mqtt_stage, store)
        mqtt_stage.take_down(11)
        assert not submit(gate, 60).is_enforced
        if is_withdrawn_between:
            mqtt_stage.network.down.add(12)
            assert submit(gate, 70).is_reverted
            mqtt_stage.network.down.clear()
        gate.reconcile()
        assert status(store, 1) is PolicyStatus.NOT_ENFORCED
        mqtt_stage.bring_back(11)
        wait_until(lambda: [gate.reconcile(), status(store, 1) is PolicyStatus.ENFORCED][1])
    assert [in_force(mqtt_stage, cell) for cell in (10, 11, 12)] == [60, 60, 60]

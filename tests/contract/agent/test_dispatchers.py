"""One suite for every dispatcher."""

from __future__ import annotations

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement, CellAction, ControlAction, SliceAction
from telemetry_sim.errors import ActionInvalid
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

BROADBAND, URGENT = SliceId(sst=1), SliceId(sst=2)


def small_topology(num_cells: int = 3) -> Topology:
    return Topology(
        cells=tuple(CellSite(id=10 + i, name=f"cell {i}", x_m=500.0 * i, y_m=0) for i in range(num_cells)),
        slices=tuple(
            SliceProfile(
                id=slice_id,
                name=name,
                five_qi=9,
                delay_budget_ms=budget_ms,
                in_time_target=0.95,
                packet_size_bits=12_000,
            )
            for slice_id, name, budget_ms in ((BROADBAND, "broadband", 300.0), (URGENT, "urgent", 10.0))
        ),
    )


def share(cell: int, pct: int, slice_id: SliceId = BROADBAND) -> SliceAction:
    return SliceAction(cell=cell, slice=slice_id, min_pct=pct)


def policy(version: int, *actions: ControlAction) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1,
        planner="uniform",
        valid_from_s=10.0,
        valid_until_s=60.0,
        actions=actions,
    )


class RecordingNetwork:
    """Obeys as the simulator's network does: one acknowledgement per cell; cells that are down refuse."""

    def __init__(self, topology: Topology) -> None:
        self._known = {cell.id for cell in topology.cells}
        self.down: set[int] = set()
        self.applied: list[tuple[int, ControlAction]] = []

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        for action in actions:
            if action.cell not in self._known:
                raise ActionInvalid(f"cell {action.cell} is unknown")
        self.applied += [(policy_version, action) for action in actions if action.cell not in self.down]
        return tuple(
            Acknowledgement(
                cell=cell,
                policy_version=policy_version,
                applied=cell not in self.down,
                reason="cell is out of service" if cell in self.down else "",
            )
            for cell in dict.fromkeys(action.cell for action in actions)
        )


@pytest.fixture
def network() -> RecordingNetwork:
    return RecordingNetwork(small_topology())


@pytest.fixture
def dispatcher(network: RecordingNetwork) -> InProcessDispatcher:
    return InProcessDispatcher(network, small_topology())


def test_a_policy_is_enforced_once_every_target_applied_it(dispatcher, network):
    outcome = dispatcher.dispatch(policy(1, share(10, 60), share(11, 40)))
    assert outcome.is_enforced
    assert {answer.cell for answer in outcome.acknowledgements} == {10, 11}
    assert network.applied == [(1, share(10, 60)), (1, share(11, 40))]


def test_a_policy_is_not_enforced_while_one_target_has_not_applied_it(dispatcher, network):
    network.down.add(11)
    outcome = dispatcher.dispatch(policy(1, share(10, 60), share(11, 40)))
    assert not outcome.is_enforced
    assert [answer.cell for answer in outcome.refusals] == [11]
    assert outcome.refusals[0].reason


def test_sending_the_same_policy_again_applies_nothing_twice(dispatcher, network):
    first = dispatcher.dispatch(policy(1, share(10, 60)))
    again = dispatcher.dispatch(policy(1, share(10, 60)))
    assert again == first
    assert len(network.applied) == 1


def test_sending_the_same_policy_again_reaches_the_target_that_missed_it(dispatcher, network):
    network.down.add(11)
    dispatcher.dispatch(policy(1, share(10, 60), share(11, 40)))
    network.down.clear()
    assert dispatcher.dispatch(policy(1, share(10, 60), share(11, 40))).is_enforced
    assert network.applied == [(1, share(10, 60)), (1, share(11, 40))]


def test_reconciling_brings_a_healed_target_to_the_version_it_missed(dispatcher, network):
    network.down.add(11)
    dispatcher.dispatch(policy(1, share(11, 40)))
    dispatcher.dispatch(policy(2, share(10, 70)))
    network.down.clear()
    dispatcher.reconcile()
    assert network.applied[-1] == (1, share(11, 40))
    assert all(state.is_settled for state in dispatcher.states())
    assert dispatcher.reconcile() is None


def test_a_later_policy_carries_what_its_target_missed_before(dispatcher, network):
    network.down.add(11)
    dispatcher.dispatch(policy(1, share(11, 40), share(11, 30, URGENT)))
    network.down.clear()
    dispatcher.dispatch(policy(2, share(11, 50)))
    assert network.applied == [(2, share(11, 30, URGENT)), (2, share(11, 50))]


def test_an_older_version_is_refused(dispatcher):
    dispatcher.dispatch(policy(2, share(10, 60)))
    with pytest.raises(PolicyRejected, match="stale"):
        dispatcher.dispatch(policy(1, share(10, 60)))


def test_the_same_version_with_another_content_is_refused(dispatcher):
    dispatcher.dispatch(policy(1, share(10, 60)))
    with pytest.raises(PolicyRejected, match="another content"):
        dispatcher.dispatch(policy(1, share(10, 61)))


def test_an_unknown_target_is_refused_and_nothing_is_applied(dispatcher, network):
    with pytest.raises(PolicyRejected, match="999"):
        dispatcher.dispatch(policy(1, share(10, 60), share(999, 60)))
    assert network.applied == []
    assert all(state.desired_version == 0 for state in dispatcher.states())


def test_states_show_desired_and_reported_versions_of_every_cell(dispatcher, network):
    network.down.add(11)
    dispatcher.dispatch(policy(1, share(10, 60), CellAction(cell=11, tx_power_step_db=-1)))
    by_cell = {state.cell: (state.desired_version, state.reported_version) for state in dispatcher.states()}
    assert by_cell == {10: (1, 1), 11: (1, 0), 12: (0, 0)}


def test_a_policy_without_actions_is_enforced_at_once(dispatcher):
    assert dispatcher.dispatch(policy(1)).is_enforced

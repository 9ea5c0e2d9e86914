"""The desired state."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState, target_of, uniform_actions
from telemetry_sim.actions import CellAction, SliceAction
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

TOPOLOGY = Topology(
    cells=(CellSite(id=1, name="one", x_m=0, y_m=0), CellSite(id=2, name="two", x_m=1, y_m=0)),
    slices=tuple(
        SliceProfile(
            id=SliceId(sst=sst), name="s", five_qi=9, delay_budget_ms=10, in_time_target=0.9, packet_size_bits=1
        )
        for sst in (1, 2, 3)
    ),
)


def test_the_initial_state_shares_each_cell_out_in_full():
    shares = [a.min_pct for a in uniform_actions(TOPOLOGY) if isinstance(a, SliceAction) and a.cell == 1]
    assert shares == [34, 33, 33]


def test_unnamed_targets_keep_what_they_have():
    action = SliceAction(cell=1, slice=SliceId(sst=1), min_pct=10)
    before = DesiredState.initial(TOPOLOGY)
    after = before.after([action], version=4)
    assert after.actions[target_of(action)] == action
    assert after.versions == {target_of(action): 4}
    assert after.of_cell(2) == before.of_cell(2)


def test_restoring_undoes_exactly_the_named_targets():
    before = DesiredState.initial(TOPOLOGY)
    change = CellAction(cell=2, tx_power_step_db=-3)
    undo = before.restoring([target_of(change)])
    assert undo == (CellAction(cell=2),)
    assert before.after([change], version=1).after(undo, version=2).actions == before.actions

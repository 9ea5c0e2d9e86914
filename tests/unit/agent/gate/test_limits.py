"""Limits that no policy may break."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dispatch.desired import DesiredState
from agent.errors import PolicyRejected
from agent.gate.limits import Guarantee, Limits, check_limits, within_steps
from telemetry_sim.actions import CellAction, SliceAction
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

IDS = tuple(SliceId(sst=sst) for sst in (1, 2, 3))
TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name="c", x_m=cell, y_m=0) for cell in range(4)),
    slices=tuple(
        SliceProfile(id=i, name="s", five_qi=9, delay_budget_ms=10, in_time_target=0.9, packet_size_bits=1) for i in IDS
    ),
)
START = DesiredState.initial(TOPOLOGY)


def share(pct: int, index: int = 0, **fields) -> SliceAction:
    return SliceAction(cell=0, slice=IDS[index], min_pct=pct, **fields)


def check(*actions, limits=None, current=START, since=START) -> None:
    check_limits(actions, current=current, since=since, limits=limits or Limits())


def test_a_change_that_keeps_all_bounds_passes():
    check(share(50), share(25, 1), share(25, 2))


def test_what_unnamed_slices_keep_counts_towards_capacity():
    with pytest.raises(PolicyRejected, match=r"min_pct would sum to 116"):
        check(share(50))


def test_guaranteed_cpu_counts_towards_capacity_too():
    with pytest.raises(PolicyRejected, match="compute_pct"):
        check(share(20, compute_pct=80))


def test_a_guarantee_is_kept_whatever_the_plan_says():
    limits = Limits(guarantees=(Guarantee(slice=IDS[1], min_pct=30),))
    with pytest.raises(PolicyRejected, match="30 % is guaranteed"):
        check(share(29, 1), limits=limits)
    check(share(30, 1), limits=limits)
    check(share(29, 1), limits=Limits(guarantees=(Guarantee(slice=IDS[1], min_pct=30, cells=(3,)),)))


def test_a_share_moves_no_further_than_its_cap():
    limits = Limits(max_share_step_pct=10)
    check(share(24), limits=limits)
    with pytest.raises(PolicyRejected, match="change by 11"):
        check(share(23), limits=limits)


def test_many_small_changes_within_one_window_add_up():
    limits = Limits(max_share_step_pct=10)
    halfway = START.after([share(26)], version=1)
    with pytest.raises(PolicyRejected, match="change by 12"):
        check(share(22), limits=limits, current=halfway, since=START)


def test_power_moves_no_further_than_its_cap():
    with pytest.raises(PolicyRejected, match="tx_power_step_db"):
        check(CellAction(cell=0, tx_power_step_db=-4))


def test_not_too_many_cells_sleep_at_once():
    two = START.after([CellAction(cell=cell, sleep=True) for cell in (0, 1)], version=1)
    with pytest.raises(PolicyRejected, match="would sleep"):
        check(CellAction(cell=2, sleep=True), current=two)
    check(CellAction(cell=1, sleep=True), current=START)


@st.composite
def splits(draw) -> tuple[SliceAction, ...]:
    """Any feasible division of one cell."""
    cuts = sorted(draw(st.integers(0, 100)) for _ in range(3))
    mins = (cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1])
    cpu = sorted(draw(st.integers(0, 100)) for _ in range(3))
    actions = []
    for index, pct in enumerate(mins):
        actions.append(
            SliceAction(
                cell=0,
                slice=IDS[index],
                min_pct=pct,
                dedicated_pct=draw(st.integers(0, pct)),
                max_pct=draw(st.integers(pct, 100)),
                compute_pct=(cpu[0], cpu[1] - cpu[0], cpu[2] - cpu[1])[index],
            )
        )
    return tuple(actions)


@given(before=splits(), after=splits(), cap=st.integers(1, 60))
def test_softened_actions_always_pass_the_limits(before, after, cap):
    limits = Limits(max_share_step_pct=cap)
    since = START.after(before, version=1)
    softened = within_steps(after, since=since, limits=limits)
    check_limits(softened, current=since, since=since, limits=limits)


@given(before=splits(), after=splits())
def test_softening_leaves_what_is_within_the_caps_as_it_is(before, after):
    since = START.after(before, version=1)
    assert within_steps(after, since=since, limits=Limits(max_share_step_pct=100)) == after


@given(before=splits(), after=splits(), cap=st.integers(1, 60), floor=st.integers(0, 30))
def test_softening_keeps_a_guarantee_that_both_ends_keep(before, after, cap, floor):
    since = START.after(before, version=1)
    softened = within_steps(after, since=since, limits=Limits(max_share_step_pct=cap))
    if before[0].min_pct >= floor and after[0].min_pct >= floor:
        assert softened[0].min_pct >= floor

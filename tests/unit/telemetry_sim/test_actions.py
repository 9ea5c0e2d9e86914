"""Control actions: bounds, order and one target each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.topology import SliceId

ACTION: TypeAdapter[Any] = TypeAdapter(ControlAction)


def slice_action(**changes: Any) -> SliceAction:
    return SliceAction(**{"cell": 1, "slice": SliceId(sst=1), "min_pct": 30, **changes})


percents = st.integers(-5, 105)


@given(dedicated=percents, least=percents, most=percents)
def test_shares_are_percents_in_order(dedicated: int, least: int, most: int) -> None:
    is_right = 0 <= dedicated <= least <= most <= 100
    try:
        slice_action(dedicated_pct=dedicated, min_pct=least, max_pct=most)
    except ValidationError:
        assert not is_right
    else:
        assert is_right


@given(device=percents, edge=percents, cloud=percents)
def test_an_offload_split_is_a_split_of_everything(device: int, edge: int, cloud: int) -> None:
    parts = (device, edge, cloud)
    is_right = all(0 <= part <= 100 for part in parts) and sum(parts) == 100
    try:
        slice_action(offload_device_pct=device, offload_edge_pct=edge, offload_cloud_pct=cloud)
    except ValidationError:
        assert not is_right
    else:
        assert is_right


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": -1},
        {"scheduler": "fifo"},
        {"ue_rate_cap_mbps": 0.0},
        {"ue_rate_cap_mbps": float("inf")},
        {"admission_cap": -1},
        {"compute_pct": 101},
        {"report_interval_s": 0.5},
        {"report_interval_s": 61.0},
        {"min_pct": 30.5},
        {"priority": 1},
    ],
)
def test_a_slice_action_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        slice_action(**changes)


@pytest.mark.parametrize(
    "changes", [{"tx_power_step_db": 4}, {"tx_power_step_db": -10}, {"handover_offset_db": 7}, {"sleep": "maybe"}]
)
def test_a_cell_action_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CellAction(**{"cell": 1, **changes})


@pytest.mark.parametrize("action", [slice_action(ue_rate_cap_mbps=2.5), CellAction(cell=1, sleep=True)])
def test_an_action_read_back_is_of_its_own_kind(action: Any) -> None:
    assert ACTION.validate_json(action.model_dump_json()) == action
    assert type(ACTION.validate_json(action.model_dump_json())) is type(action)


def test_an_action_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        slice_action().min_pct = 40

"""The static description of a network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

VIDEO = SliceProfile(
    id=SliceId(sst=1), name="video", five_qi=9, delay_budget_ms=300, in_time_target=0.9, packet_size_bits=8000
)


def cell(number: int, **changes: Any) -> CellSite:
    return CellSite(**{"id": number, "name": "site", "x_m": 0.0, "y_m": 0.0, **changes})


@given(slice_id=st.builds(SliceId, sst=st.integers(1, 255), sd=st.integers(0, 0xFFFFFF)))
def test_a_slice_id_read_back_is_itself(slice_id: SliceId) -> None:
    assert SliceId.parse(str(slice_id)) == slice_id


def test_a_slice_id_without_differentiator_has_none() -> None:
    assert SliceId.parse("2") == SliceId(sst=2, sd=0xFFFFFF)


@pytest.mark.parametrize("text", ["", "x", "0", "256", "-1", "1-1000000", "1-zz", "1-2-3"])
def test_what_is_no_slice_id_is_refused(text: str) -> None:
    with pytest.raises(ScenarioInvalid, match="expected 'sst' or 'sst-sd'"):
        SliceId.parse(text)


@pytest.mark.parametrize(
    ("cells", "slices", "message"),
    [
        ((), (VIDEO,), "0 cells"),
        ((cell(1),), (), "0 slices"),
        ((cell(1), cell(1)), (VIDEO,), "cells: ids must be unique"),
        ((cell(1),), (VIDEO, VIDEO), "slices: ids must be unique"),
        ((cell(1, neighbours=(2,)),), (VIDEO,), "must name other cells"),
        ((cell(1, neighbours=(1,)),), (VIDEO,), "must name other cells"),
    ],
)
def test_an_inconsistent_topology_is_refused(cells: Any, slices: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Topology(cells=cells, slices=slices)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 65_536},
        {"name": ""},
        {"name": "<b>"},
        {"x_m": float("nan")},
        {"carrier_ghz": 0.1},
        {"num_prb": 0},
        {"num_prb": 276},
        {"edge_cpu_ghz": 0.0},
        {"neighbours": (2, 3, 4, 5, 6, 7, 8)},
    ],
)
def test_a_cell_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        cell(1, **changes)


def test_cells_and_slices_are_found_by_id() -> None:
    topology = Topology(cells=(cell(7), cell(3, neighbours=(7,))), slices=(VIDEO,))

    assert topology.cell_index(3) == 1
    assert topology.slice_index(VIDEO.id) == 0
    with pytest.raises(ScenarioInvalid, match=r"cell 5 is unknown; cells are \[7, 3\]"):
        topology.cell_index(5)
    with pytest.raises(ScenarioInvalid, match="slice 9-ffffff is unknown; slices are"):
        topology.slice_index(SliceId(sst=9))

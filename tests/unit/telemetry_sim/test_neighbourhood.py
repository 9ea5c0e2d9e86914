"""The neighbour graph: who hands over to whom, and who can't."""

from __future__ import annotations

import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.neighbourhood import neighbour_graph, refuse_isolated_cells
from telemetry_sim.scenarios import list_scenarios, scenario
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

_SLICE = SliceProfile(
    id=SliceId(sst=1), name="video", five_qi=7, delay_budget_ms=100.0, in_time_target=0.9, packet_size_bits=12_000.0
)


def _line_of_cells(*neighbours: tuple[int, ...]) -> Topology:
    cells = tuple(
        CellSite(id=i, name=f"cell {i}", x_m=300.0 * i, y_m=0.0, neighbours=others)
        for i, others in enumerate(neighbours)
    )
    return Topology(cells=cells, slices=(_SLICE,))


def test_an_edge_carries_the_distance_between_its_cells():
    graph = neighbour_graph(_line_of_cells((1,), (2,), ()))
    assert graph.edges[1, 2]["distance_m"] == pytest.approx(300.0)
    assert sorted(graph.neighbors(1)) == [0, 2]


def test_a_cell_without_neighbours_is_refused_with_its_path():
    with pytest.raises(ScenarioInvalid, match=r"topology\.cells\[2\]\.neighbours"):
        refuse_isolated_cells(_line_of_cells((1,), (0,), ()))


def test_a_single_cell_needs_no_neighbour():
    refuse_isolated_cells(_line_of_cells(()))


def test_no_scenario_has_an_isolated_cell():
    for summary in list_scenarios():
        refuse_isolated_cells(scenario(summary.name).topology)

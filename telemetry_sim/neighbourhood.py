"""The graph of neighbouring cells."""

from __future__ import annotations

import networkx as nx

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.topology import Topology


def neighbour_graph(topology: Topology) -> nx.Graph:
    """Cells as nodes (by id), an edge where either names the other, with their distance in metres."""
    graph = nx.Graph()
    sites = {cell.id: cell for cell in topology.cells}
    graph.add_nodes_from(sites)
    for cell in topology.cells:
        for other in cell.neighbours:
            distance_m = ((cell.x_m - sites[other].x_m) ** 2 + (cell.y_m - sites[other].y_m) ** 2) ** 0.5
            graph.add_edge(cell.id, other, distance_m=distance_m)
    return graph


def refuse_isolated_cells(topology: Topology) -> None:
    """Raise ScenarioInvalid where a cell of several has no neighbour to hand devices over to."""
    if len(topology.cells) == 1:
        return
    alone = sorted(nx.isolates(neighbour_graph(topology)))
    if alone:
        raise ScenarioInvalid(f"topology.cells: {alone[:10]} have no neighbours; each cell of several needs one")

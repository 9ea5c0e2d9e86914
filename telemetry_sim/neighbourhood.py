"""The graphs of neighbouring cells and of the backhaul."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.topology import CORE, Topology

if TYPE_CHECKING:
    import networkx as nx


def neighbour_graph(topology: Topology) -> nx.Graph:
    """Cells as nodes (by id), an edge where either names the other, with their distance in metres."""
    import networkx as nx

    graph = nx.Graph()
    sites = {cell.id: cell for cell in topology.cells}
    graph.add_nodes_from(sites)
    for cell in topology.cells:
        for other in cell.neighbours:
            distance_m = ((cell.x_m - sites[other].x_m) ** 2 + (cell.y_m - sites[other].y_m) ** 2) ** 0.5
            graph.add_edge(cell.id, other, distance_m=distance_m)
    return graph


def refuse_isolated_cells(topology: Topology) -> None:
    """Raise ScenarioInvalid where a cell has no way to the core, or one of several no neighbour to hand over to."""
    if topology.backhaul:
        backhaul_routes(topology)
    if len(topology.cells) == 1:
        return
    named = {other for cell in topology.cells for other in cell.neighbours}
    for index, cell in enumerate(topology.cells):
        if not cell.neighbours and cell.id not in named:
            raise ScenarioInvalid(f"topology.cells[{index}].neighbours: (), each cell of several needs one")


def backhaul_graph(topology: Topology) -> nx.Graph:
    """Cells, routers and the core as nodes (by name), the shared links with capacity, delay and number as edges."""
    import networkx as nx

    graph = nx.Graph()
    names = [CORE, *(cell.name for cell in topology.cells)]
    ways = [frozenset(link.ends) for link in topology.backhaul]
    if len(set(names)) < len(names) or len(set(ways)) < len(ways):
        raise ScenarioInvalid("topology.backhaul: cells' names and pairs of ends must be unique, and no cell be 'core'")
    graph.add_nodes_from(names)
    for number, link in enumerate(topology.backhaul):
        graph.add_edge(*link.ends, number=number, capacity_mbps=link.capacity_mbps, delay_ms=link.delay_ms)
    return graph


def backhaul_routes(topology: Topology) -> tuple[tuple[int, ...], ...]:
    """Numbers of the links on each cell's quickest way to the core; raises ScenarioInvalid where there is none."""
    import networkx as nx

    graph = backhaul_graph(topology)
    # A hair per hop, so that of equally quick ways the one with fewer links is taken.
    ways = nx.single_source_dijkstra_path(graph, CORE, weight=lambda _a, _b, edge: edge["delay_ms"] + 1e-9)
    routes = []
    for index, cell in enumerate(topology.cells):
        if cell.name not in ways:
            raise ScenarioInvalid(f"topology.backhaul: cells[{index}] ({cell.name}) has no way to {CORE!r}")
        way = ways[cell.name]
        routes.append(tuple(graph.edges[pair]["number"] for pair in itertools.pairwise(way)))
    return tuple(routes)

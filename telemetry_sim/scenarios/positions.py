"""Cells at the places of a file."""

from __future__ import annotations

import csv
import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.scenarios.sites import nearest_others
from telemetry_sim.topology import CellSite, Topology

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from telemetry_sim.scenarios.model import Scenario

EARTH_RADIUS_M = 6_371_000.0
REACH = 0.6
"""Radius of a cell over the median distance to its nearest neighbour."""
_LEAST_RADIUS_M = 20.0
_BOUNDS = {"Latitude": 90.0, "Longitude": 180.0}


def at_positions(scenario: Scenario, path: Path, *, num_devices: int | None = None) -> Scenario:
    """The scenario on the sites of a CSV file with Latitude and Longitude columns (degrees).

    Each site is like the scenario's first cell; without a number of devices each gets as many as there. Devices close
    together stand in like shadows. Raises ScenarioInvalid for a file that can't be read or names places that don't
    exist.
    """
    positions_m = _plane_m(_degrees(path))
    pattern = scenario.topology.cells[0]
    spacing_m = _nearest_distance_m(positions_m)
    usual = scenario.num_devices * len(positions_m) // len(scenario.topology.cells)
    cells = tuple(
        CellSite.model_validate(
            {
                **pattern.model_dump(),
                "id": index,
                "name": f"cell-{index}",
                "x_m": float(x_m),
                "y_m": float(y_m),
                "neighbours": nearest_others(positions_m, index),
            }
        )
        for index, (x_m, y_m) in enumerate(positions_m)
    )
    return dataclasses.replace(
        scenario,
        topology=Topology(cells=cells, slices=scenario.topology.slices),
        num_devices=usual if num_devices is None else num_devices,
        has_shared_shadows=True,
        cell_radius_m=min(scenario.cell_radius_m, max(_LEAST_RADIUS_M, REACH * spacing_m)),
    )


def _degrees(path: Path) -> NDArray[np.float64]:
    """Latitude and longitude of each row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            missing = sorted(set(_BOUNDS) - set(rows.fieldnames or ()))
            if rows.fieldnames is None:
                raise ScenarioInvalid(f"{path}: is empty; a table with columns {' and '.join(missing)} needed")
            if missing:
                columns, there = "columns" if len(missing) > 1 else "column", ", ".join(rows.fieldnames)
                raise ScenarioInvalid(f"{path}: {columns} {' and '.join(missing)} missing; found {there or 'none'}")
            found = [
                [_degree(path, number, name, row[name]) for name in _BOUNDS] for number, row in enumerate(rows, start=2)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScenarioInvalid(f"{path}: can't be read as a table of positions: {error}") from error
    if not found:
        raise ScenarioInvalid(f"{path}: no positions; at least one row needed")
    return np.array(found)


def _degree(path: Path, line: int, name: str, text: str | None) -> float:
    bound = _BOUNDS[name]
    try:
        degrees = float(text or "")
    except ValueError:
        degrees = math.nan
    if not abs(degrees) <= bound:
        raise ScenarioInvalid(f"{path}, line {line}, {name}: {text!r}, a number from {-bound:g} to {bound:g} needed")
    return degrees


def _plane_m(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """East and north of the middle; exact enough for a region."""
    latitude, longitude = np.radians(degrees).T
    scale = math.cos(float(latitude.mean()))
    east_m = EARTH_RADIUS_M * scale * (longitude - longitude.mean())
    return np.column_stack((east_m, EARTH_RADIUS_M * (latitude - latitude.mean())))


def _nearest_distance_m(positions_m: NDArray[np.float64]) -> float:
    """Median over the sites of the distance to the nearest other; infinite for a single site."""
    if len(positions_m) == 1:
        return math.inf
    apart_m = np.hypot(*(positions_m[:, None] - positions_m[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart_m, np.inf)
    return float(np.median(apart_m.min(axis=1)))

"""Cells at the places of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.network import Network
from telemetry_sim.scenarios import at_positions, scenario

if TYPE_CHECKING:
    from pathlib import Path

_THREE = "ID,Latitude,Longitude\n0,-37.81,144.96\n1,-37.81,144.965\n2,-37.814,144.96\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "sites.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_stand_as_far_apart_as_the_places(tmp_path: Path) -> None:
    made = at_positions(scenario("smart-city"), _file(tmp_path, _THREE))
    first, east, south = made.topology.cells
    assert east.x_m - first.x_m == pytest.approx(439.3, abs=1.0)
    assert first.y_m - south.y_m == pytest.approx(444.8, abs=1.0)
    assert first.neighbours == (1, 2)
    assert made.num_devices == 180
    assert len(Network(made, seed=1).run(2).frames[-1].devices.device_id) == pytest.approx(180, abs=5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ID,Lat\n1,2\n", "columns Latitude and Longitude missing; found ID, Lat"),
        ("ID,Latitude\n1,2\n", "column Longitude missing; found ID, Latitude"),
        ("", "is empty; a table with columns Latitude and Longitude needed"),
        ("\n", "is empty|no positions|missing; found none"),
        ("Latitude,Longitude\n", "no positions"),
        ("Latitude,Longitude\n-37.8,144.9\n91,10\n", "line 3, Latitude: '91'"),
        ("Latitude,Longitude\nnan,10\n", "line 2, Latitude"),
        ("Latitude,Longitude\n12\n", "line 2, Longitude"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ScenarioInvalid, match=complaint):
        at_positions(scenario("smart-city"), _file(tmp_path, text))


@pytest.mark.data
def test_the_recorded_sites_of_a_city_make_a_network(recorded_data: Path) -> None:
    path = recorded_data / "edge_topology_melb" / "edgeResources-melbCBD.csv"
    made = at_positions(scenario("smart-city"), path, num_devices=2000)
    assert len(made.topology.cells) == 131
    frame = Network(made, seed=1).run(2).frames[-1]
    assert len(np.unique(frame.devices.cell)) > 100

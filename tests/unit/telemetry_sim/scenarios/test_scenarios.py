from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.faults import FaultKind, FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.records import Telemetry
from telemetry_sim.scenarios import Scenario, list_scenarios, scenario

_SUMMARIES = list_scenarios()
_FIELDS = {
    "smart-city",
    "intelligent-transport",
    "industrial-iot",
    "smart-home",
    "ehealth",
    "space-air-ground-sea",
}


def test_each_field_has_a_scenario_with_slices_and_faults() -> None:
    assert {summary.name for summary in _SUMMARIES} == _FIELDS
    for summary in _SUMMARIES:
        assert len(summary.slices) >= 4
        assert len(summary.faults) >= 2


def test_an_unknown_scenario_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ScenarioInvalid, match=r"'moon-base' is unknown.*smart-city"):
        scenario("moon-base")


def test_every_fault_kind_is_met_somewhere() -> None:
    assert {kind for name in _FIELDS for kind in scenario(name).faults.kinds} == set(FaultKind)


@pytest.mark.parametrize("name", sorted(_FIELDS))
def test_a_scenario_grows_and_every_device_reports(name: str) -> None:
    made = scenario(name, 1000)
    frame = Network(made, seed=1).run(2).frames[-1]
    assert len(frame.devices.device_id) == pytest.approx(1000, abs=20)
    assert frame.sensors is not None
    assert len(frame.stream_names) >= 2
    assert frame.sensors.stream.max() < len(frame.stream_names)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"num_devices": 3}, "num_devices"),
        ({"populations": scenario("smart-city").populations[:3]}, "populations"),
        ({"queue_places": 24}, "queue_places"),
        ({"step_s": 0.0}, "step_s"),
        ({"period_s": -1.0}, "period_s"),
        ({"cell_radius_m": -5.0}, "cell_radius_m"),
    ],
)
def test_an_impossible_scenario_is_refused_with_the_fields_path(change: dict[str, object], path: str) -> None:
    with pytest.raises(ScenarioInvalid, match=path):
        dataclasses.replace(scenario("smart-city"), **change)  # type: ignore[arg-type]


def test_a_slice_without_devices_is_refused() -> None:
    made = scenario("smart-city")
    empty = dataclasses.replace(made.populations[0], part=0.0)
    with pytest.raises(ScenarioInvalid, match="part"):
        dataclasses.replace(made, populations=(empty, *made.populations[1:]))


def _struck(name: str, kind: FaultKind | None) -> tuple[Network, Telemetry, Scenario]:
    made = scenario(name, 1000)
    plan = FaultPlan(kinds=() if kind is None else (kind,), quiet_s=3.0, horizon_s=4.0, duration_s=(6.0, 6.0))
    network = Network(dataclasses.replace(made, faults=plan), seed=8)
    return network, network.run(12), made


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in sorted(_FIELDS) for kind in scenario(name).faults.kinds]
)
def test_a_fault_changes_the_telemetry_of_the_devices_it_names(name: str, kind: FaultKind) -> None:
    network, struck, _ = _struck(name, kind)
    _, calm, _ = _struck(name, None)
    (fault,) = network.ground_truth()
    assert fault.devices
    named = np.array(fault.devices)
    during = [index for index, frame in enumerate(struck.frames) if fault.is_active(frame.time_s - 1.0)]
    assert during
    assert any(_rows(struck, index, named) != _rows(calm, index, named) for index in during)
    before = [index for index, frame in enumerate(struck.frames) if frame.time_s <= fault.start_s]
    assert all(_rows(struck, index, named) == _rows(calm, index, named) for index in before)
    assert len(struck.logs) > 0
    assert fault.start_s < fault.end_s


def _rows(telemetry: Telemetry, index: int, named: np.ndarray) -> bytes:
    """What the named devices show in one frame: their rows, their readings and their edge node's work."""
    frame = telemetry.frames[index]
    assert frame.sensors is not None
    assert frame.slices is not None
    mine = np.isin(frame.devices.device_id, named)
    read = np.isin(frame.sensors.device_id, named)
    columns = [
        frame.devices.offered_bits[mine],
        frame.devices.served_bits[mine],
        frame.devices.sinr_db[mine],
        frame.sensors.value[read],
        frame.sensors.time_s[read],
        frame.slices.edge_cycles_used,
    ]
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)


def test_a_cause_shows_in_the_logs_before_the_outage() -> None:
    made = scenario("intelligent-transport")
    plan = FaultPlan(kinds=(FaultKind.CELL_OUTAGE,), quiet_s=60.0, horizon_s=120.0)
    network = Network(dataclasses.replace(made, faults=plan), seed=3)
    (fault,) = network.ground_truth()
    assert 30.0 <= fault.start_s - fault.first_sign_s <= 100.0
    logs = network.run(float(np.ceil(fault.start_s))).logs
    signs = [line for line in logs if "RU temperature" in line.text]
    assert len(signs) >= 2
    assert all(line.cell == fault.cell and line.time_s < fault.start_s for line in signs)


def test_three_vendors_write_the_logs() -> None:
    logs = Network(scenario("smart-city"), seed=1).run(60).logs
    assert {line.source for line in logs} == {"gnb", "gateway", "firmware"}
    assert list(logs) == sorted(logs, key=lambda line: line.time_s)

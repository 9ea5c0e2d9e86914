"""Every field of a policy moves what it should, in the direction that theory gives, on the same seed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from telemetry_sim.actions import CellAction, Scheduler, SliceAction
from telemetry_sim.errors import ActionInvalid
from telemetry_sim.faults import FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.scenarios import scenario
from telemetry_sim.topology import SliceId

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECONDS = 20
_CAMERAS, _CONTROL, _METERING, _VEHICLES = range(4)


def _heavy_network(seed: int = 5) -> Network:
    """Twenty per cent more load than the cells can carry, in equal parts, without faults."""
    quiet = scenario("smart-city")
    assert quiet.load is not None
    load = dataclasses.replace(quiet.load, shares=(0.25,) * 4, low=1.2, high=1.2, surge=(1.0, 1.0), calm=(1.0, 1.0))
    return Network(dataclasses.replace(quiet, load=load, faults=FaultPlan()), seed=seed)


def _actions(network: Network, changed: int, **fields: Any) -> list[SliceAction]:
    """An even split everywhere, with `fields` in force for one slice."""
    even = {"min_pct": 10, "compute_pct": 10}
    return [
        SliceAction(cell=cell.id, slice=profile.id, **(even | (fields if s == changed else {})))
        for cell in network.topology.cells
        for s, profile in enumerate(network.topology.slices)
    ]


def _run(network: Network, actions: list[Any]) -> dict[str, NDArray[np.float64]]:
    network.run(2)
    network.apply(actions, policy_version=1)
    frames = network.run(_SECONDS).frames
    slices = {
        name: sum(getattr(frame.slices, name) for frame in frames)
        for name in ("offered_bits", "in_time_bits", "served_bits", "prb_used", "tasks_offered", "tasks_in_time")
    }
    slices["num_refused"] = frames[-1].slices.num_refused
    slices["rows"] = np.array([len(frame.devices.device_id) for frame in frames], dtype=float)
    slices["energy_j"] = sum(frame.cells.energy_j for frame in frames)
    slices["prb_total"] = sum(frame.cells.prb_used for frame in frames)
    slices["num_devices"] = frames[-1].slices.num_devices
    slices["fastest_bps"] = np.max([frame.devices.served_bits for frame in frames if len(frame.devices.cell) == 240])
    slices["device_j"] = np.sum([frame.devices.energy_j.sum() for frame in frames])
    slices["sinr_db"] = np.mean([frame.devices.sinr_db.mean() for frame in frames])
    slices["edge"] = np.mean([frame.cells.edge_utilisation for frame in frames])
    return slices


def _in_time(result: dict[str, NDArray[np.float64]], s: int) -> float:
    return float(result["in_time_bits"][:, s].sum() / result["offered_bits"][:, s].sum())


def _tasks_in_time(result: dict[str, NDArray[np.float64]], s: int) -> float:
    return float(result["tasks_in_time"][:, s].sum() / result["tasks_offered"][:, s].sum())


def _compare(changed: int, low: dict[str, Any], high: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results of two policies on the same seed."""
    results = []
    for fields in (low, high):
        network = _heavy_network()
        results.append(_run(network, _actions(network, changed, **fields)))
    return results[0], results[1]


def test_a_larger_guarantee_brings_more_packets_in_time_and_takes_from_the_others() -> None:
    low, high = _compare(_CAMERAS, {"min_pct": 5}, {"min_pct": 60})
    assert _in_time(high, _CAMERAS) > _in_time(low, _CAMERAS) + 0.1
    assert _in_time(high, _VEHICLES) < _in_time(low, _VEHICLES)


def test_a_dedicated_share_stays_idle_when_its_slice_does_not_need_it() -> None:
    low, high = _compare(_METERING, {"min_pct": 60}, {"min_pct": 60, "dedicated_pct": 60})
    others = [_CAMERAS, _CONTROL, _VEHICLES]
    assert high["prb_used"][:, others].sum() < 0.8 * low["prb_used"][:, others].sum()


def test_a_ceiling_is_never_exceeded() -> None:
    low, high = _compare(_CAMERAS, {"max_pct": 12}, {"max_pct": 100})
    assert np.all(low["prb_used"][:, _CAMERAS] / _SECONDS <= 0.12 * 51 + 1e-6)
    assert high["prb_used"][:, _CAMERAS].sum() > low["prb_used"][:, _CAMERAS].sum()


def test_proportional_fairness_serves_more_bits_than_round_robin() -> None:
    robin, fair = _compare(_CAMERAS, {"scheduler": Scheduler.ROUND_ROBIN}, {"scheduler": Scheduler.PROPORTIONAL_FAIR})
    assert fair["served_bits"][:, _CAMERAS].sum() > robin["served_bits"][:, _CAMERAS].sum()


def test_earliest_deadline_first_loses_fewer_tight_packets_than_round_robin_below_overload() -> None:
    robin, deadline = _compare(
        _CONTROL,
        {"min_pct": 35, "scheduler": Scheduler.ROUND_ROBIN},
        {"min_pct": 35, "scheduler": Scheduler.EARLIEST_DEADLINE_FIRST},
    )
    assert 1.0 - _in_time(deadline, _CONTROL) < 1.0 - _in_time(robin, _CONTROL)


def test_a_rate_cap_bounds_each_device_and_frees_prbs_for_the_others() -> None:
    capped, free = _compare(_CAMERAS, {"ue_rate_cap_mbps": 0.3}, {})
    devices_in_slice = capped["num_devices"][:, _CAMERAS].sum()
    assert capped["served_bits"][:, _CAMERAS].sum() / _SECONDS / devices_in_slice <= 0.3e6
    assert _in_time(capped, _VEHICLES) > _in_time(free, _VEHICLES)


def test_an_admission_cap_refuses_the_rest_and_relieves_those_inside() -> None:
    capped, free = _compare(_CAMERAS, {"admission_cap": 3}, {})
    refused = capped["num_refused"][:, _CAMERAS]
    np.testing.assert_array_equal(refused, np.maximum(0, capped["num_devices"][:, _CAMERAS] - 3))
    assert _in_time(capped, _VEHICLES) > _in_time(free, _VEHICLES)


def test_a_larger_compute_share_finishes_more_tasks_in_time() -> None:
    low, high = _compare(_VEHICLES, {"compute_pct": 1}, {"compute_pct": 60})
    assert _tasks_in_time(high, _VEHICLES) > _tasks_in_time(low, _VEHICLES)


def test_computing_on_the_device_spends_its_energy_and_frees_the_edge() -> None:
    edge, device = _compare(_CAMERAS, {}, {"offload_device_pct": 100, "offload_edge_pct": 0})
    assert device["device_j"] > edge["device_j"]
    assert device["edge"] < edge["edge"]


def test_computing_in_the_cloud_frees_the_edge_and_is_too_far_for_tight_deadlines() -> None:
    edge, cloud = _compare(_CAMERAS, {}, {"offload_edge_pct": 0, "offload_cloud_pct": 100})
    assert cloud["edge"] < edge["edge"]
    # The round trip to the cloud is longer than the vehicles' deadline leaves time for.
    edge, cloud = _compare(_VEHICLES, {"compute_pct": 60}, {"offload_edge_pct": 0, "offload_cloud_pct": 100})
    assert _tasks_in_time(cloud, _VEHICLES) < _tasks_in_time(edge, _VEHICLES)


def test_rarer_reports_cost_fewer_prbs_and_age_the_telemetry() -> None:
    often, rarely = _compare(_METERING, {"report_interval_s": 1.0}, {"report_interval_s": 10.0})
    assert rarely["rows"].sum() < often["rows"].sum()
    assert rarely["prb_total"].sum() < often["prb_total"].sum() or rarely["rows"].sum() < 0.8 * often["rows"].sum()


def test_more_power_raises_the_own_signal_and_the_bill() -> None:
    results = []
    for step_db in (-9, 3):
        network = _heavy_network()
        results.append(
            _run(network, [CellAction(cell=cell.id, tx_power_step_db=step_db) for cell in network.topology.cells])
        )
    assert results[1]["sinr_db"] > results[0]["sinr_db"]
    assert results[1]["energy_j"].sum() > results[0]["energy_j"].sum()


def test_a_sleeping_cell_saves_energy_and_its_devices_move_away() -> None:
    results = []
    for sleep in (False, True):
        network = _heavy_network()
        results.append(_run(network, [CellAction(cell=0, sleep=sleep)]))
    assert results[1]["energy_j"][0] < 0.8 * results[0]["energy_j"][0]
    assert results[1]["num_devices"][0].sum() == 0
    assert results[1]["num_devices"].sum() == results[0]["num_devices"].sum()


def test_a_positive_handover_offset_attracts_devices() -> None:
    counts = []
    for offset_db in (-6, 6):
        network = _heavy_network()
        counts.append(_run(network, [CellAction(cell=0, handover_offset_db=offset_db)])["num_devices"][0].sum())
    assert counts[1] > counts[0]


@pytest.mark.parametrize("field", ["min_pct", "compute_pct"])
def test_guarantees_beyond_the_whole_are_refused_and_nothing_is_applied(field: str) -> None:
    network = _heavy_network()
    before = network.fork()
    fields = {"min_pct": 10, field: 40}
    actions = [SliceAction(cell=0, slice=profile.id, **fields) for profile in network.topology.slices]
    with pytest.raises(ActionInvalid, match=f"sum of {field}"):
        network.apply(actions, policy_version=9)
    np.testing.assert_equal(_bits(network), _bits(before))


def test_an_unknown_cell_or_slice_is_named() -> None:
    network = _heavy_network()
    with pytest.raises(ActionInvalid, match="99"):
        network.apply([CellAction(cell=99)], policy_version=1)
    with pytest.raises(ActionInvalid, match="7-000001"):
        network.apply([SliceAction(cell=0, slice=SliceId(sst=7, sd=1), min_pct=1)], policy_version=1)


def _bits(network: Network) -> list[float]:
    frame = network.run(1).frames[0]
    assert frame.cells is not None
    return [*frame.devices.served_bits.tolist(), *frame.cells.policy_version.tolist()]

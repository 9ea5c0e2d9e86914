"""Scores against figures worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from agent.errors import AgentInputInvalid
from agent.goal import GoalTerms
from agent.scoring import IntervalScore, delay_quantile_ms, score_interval, summarise
from agent.utility import CONTRACT_PART
from telemetry_sim.records import DELAY_BIN_EDGES_MS, CellColumns, DeviceColumns, SliceColumns, TelemetryFrame
from tests.agent_stage import TOPOLOGY

NUM_CELLS, NUM_SLICES = len(TOPOLOGY.cells), len(TOPOLOGY.slices)
NUM_BINS = len(DELAY_BIN_EDGES_MS) - 1
NAN = float("nan")
TERMS = GoalTerms(
    weight=np.array([1.0, 3.0, 1.0]),
    floor=np.zeros(3),
    target=np.full(3, 0.95),
    delay_budget_ms=np.array([300.0, 20.0, 900.0]),
    ue_rate_cap_mbps=np.full(3, np.inf),
    energy_weight=0.0,
)


def frame(
    *,
    offered: Sequence[Sequence[float]] = ((100.0,) * 3,) * 3,
    in_time: Sequence[Sequence[float]] = ((100.0,) * 3,) * 3,
    tasks: tuple[float, float] = (0.0, 0.0),
    devices: dict[int, tuple[float, float]] | None = None,
    energy_j: float = 0.0,
) -> TelemetryFrame:
    """A second of telemetry: bits per cell and slice, tasks (offered, in time), devices (offered, served)."""
    grid = {f.name: np.full((NUM_CELLS, NUM_SLICES), 0.0) for f in fields(SliceColumns) if f.name != "delay_counts"}
    grid |= {"offered_bits": np.array(offered, float), "in_time_bits": np.array(in_time, float)}
    grid |= {"tasks_offered": grid["tasks_offered"] + tasks[0], "tasks_in_time": grid["tasks_in_time"] + tasks[1]}
    counts = np.zeros((NUM_CELLS, NUM_SLICES, NUM_BINS), dtype=np.int64)
    counts[..., 7] = 1
    cells = {f.name: np.full(NUM_CELLS, energy_j) for f in fields(CellColumns) if f.name != "policy_version"}
    return TelemetryFrame(
        time_s=1.0,
        period_s=1.0,
        devices=device_columns(devices or {}),
        slices=SliceColumns(delay_counts=counts, **grid),
        cells=CellColumns(policy_version=np.zeros(NUM_CELLS, dtype=np.int32), **cells),
    )


def device_columns(devices: dict[int, tuple[float, float]]) -> DeviceColumns:
    count = len(devices)
    rest = {f.name: np.zeros(count) for f in fields(DeviceColumns) if f.name not in {"device_id", "cell", "slice"}}
    rest["offered_bits"] = np.array([offered for offered, _ in devices.values()])
    rest["served_bits"] = np.array([served for _, served in devices.values()])
    place = np.zeros(count, dtype=np.int16)
    return DeviceColumns(device_id=np.array(list(devices), dtype=np.int64), cell=place, slice=place, **rest)


def score(*frames: TelemetryFrame) -> IntervalScore:
    return score_interval(frames, [TERMS] * NUM_CELLS)


def interval(in_time: float | Sequence[float], tasks: float = NAN, utility: float = 0.5) -> IntervalScore:
    """An interval whose cells are all alike."""
    shape = (NUM_CELLS, NUM_SLICES)
    return replace(
        score(frame()),
        utility=utility,
        in_time=np.broadcast_to(np.asarray(in_time, float), shape),
        tasks_in_time=np.full(shape, tasks),
    )


def test_ratios_are_sums_over_the_frames_not_means_of_ratios() -> None:
    few = frame(offered=((10.0,) * 3,) * 3, in_time=((0.0,) * 3,) * 3)
    many = frame(offered=((90.0,) * 3,) * 3, in_time=((90.0,) * 3,) * 3)

    assert score(few, many).in_time == pytest.approx(np.full((3, 3), 0.9))


def test_a_slice_without_demand_has_no_ratio_and_costs_nothing() -> None:
    silent = ((0.0, 100.0, 100.0),) * 3
    scored = score(frame(offered=silent, in_time=silent))

    assert np.isnan(scored.in_time[:, 0]).all()
    assert scored.utility == pytest.approx(1.0)


def test_bits_left_over_from_before_do_not_lift_a_ratio_above_one() -> None:
    assert (score(frame(in_time=((250.0,) * 3,) * 3)).in_time == 1.0).all()


def test_utility_weighs_slices_by_the_goal_and_cells_alike() -> None:
    starved_control = score(frame(in_time=((100.0, 0.0, 100.0), (100.0,) * 3, (100.0,) * 3)))

    # One of three cells loses the slice that holds 3 of 5 parts of the weight; its contract is nearer to one of three.
    lost = 0.5 * 3.0 / 5.0 + 0.5 * ((1.0 - CONTRACT_PART) * 3.0 / 5.0 + CONTRACT_PART / 3.0)
    assert starved_control.utility == pytest.approx((1.0 - lost + 1.0 + 1.0) / 3.0)


def test_tasks_count_as_much_as_bits_where_a_slice_computes() -> None:
    assert score(frame(tasks=(10.0, 10.0))).utility == pytest.approx(1.0)
    assert score(frame(tasks=(10.0, 0.0))).utility == pytest.approx(0.5)


def test_energy_and_packets_are_sums_over_frames_and_cells() -> None:
    scored = score(frame(energy_j=2.0), frame(energy_j=3.0))

    assert scored.energy_j == pytest.approx(NUM_CELLS * 5.0)
    assert scored.delay_counts.sum() == 2 * NUM_CELLS * NUM_SLICES
    assert (scored.delay_counts[:, 7] == 2 * NUM_CELLS).all()


def test_telemetry_without_cell_counters_can_not_be_scored() -> None:
    with pytest.raises(AgentInputInvalid, match="cell-level counters in every frame"):
        score(frame(), replace(frame(), slices=None))
    with pytest.raises(AgentInputInvalid, match="cell-level counters"):
        score()


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ({}, 1.0),
        ({0: (5.0, 5.0), 1: (70.0, 70.0)}, 1.0),
        ({0: (10.0, 10.0), 1: (10.0, 0.0)}, 0.5),
        ({0: (10.0, 10.0), 4: (10.0, 5.0)}, 1.5**2 / (2 * 1.25)),
        ({0: (10.0, 10.0), 1: (0.0, 0.0)}, 1.0),
        ({0: (10.0, 90.0), 1: (10.0, 10.0)}, 1.0),
        ({n: (10.0, 10.0 * (n == 0)) for n in range(8)}, 1 / 8),
    ],
)
def test_fairness_is_jains_closed_form_over_devices_with_demand(
    devices: dict[int, tuple[float, float]], expected: float
) -> None:
    assert score(frame(devices=devices)).jain == pytest.approx(expected)


def test_fairness_adds_up_what_a_device_got_over_the_frames() -> None:
    late = (frame(devices={0: (10.0, 0.0), 1: (10.0, 10.0)}), frame(devices={0: (10.0, 20.0), 1: (10.0, 10.0)}))

    assert score(*late).jain == pytest.approx(1.0)


def test_the_first_interval_ran_before_any_decision_and_is_left_out() -> None:
    summary = summarise([interval(0.0, utility=0.1), interval(1.0, utility=0.9)], TOPOLOGY)

    assert summary.utility == pytest.approx(0.9)
    assert summary.sla == (1.0, 1.0, 1.0)
    assert summary.utility_per_interval == (0.1, 0.9)
    assert summarise([interval(1.0, utility=0.4)], TOPOLOGY).utility == pytest.approx(0.4)


def test_the_sla_is_a_share_of_cell_intervals_at_their_target() -> None:
    scores = [interval(1.0), interval((0.95, 0.94, 1.0)), interval((0.96, 0.2, NAN)), interval((0.5, 1.0, NAN))]
    summary = summarise(scores, TOPOLOGY)

    assert summary.sla == pytest.approx((2 / 3, 1 / 3, 1.0))
    assert summary.sla_mean == pytest.approx((2 / 3 + 1 / 3 + 1.0) / 3)
    # Weights of the slices are 1, 3 and 1.
    assert summary.sla_by_priority == pytest.approx((2 / 3 + 3 * 1 / 3 + 1.0) / 5)


def test_late_tasks_break_the_sla_of_bits_in_time() -> None:
    assert summarise([interval(1.0), interval(1.0, tasks=0.94)], TOPOLOGY).sla == (0.0, 0.0, 0.0)
    assert summarise([interval(1.0), interval(1.0, tasks=0.95)], TOPOLOGY).sla == (1.0, 1.0, 1.0)


def test_a_slice_that_never_has_demand_keeps_its_sla() -> None:
    assert summarise([interval(1.0), interval((NAN, 0.0, 0.0))], TOPOLOGY).sla == (1.0, 0.0, 0.0)


def test_a_quantile_is_the_upper_edge_of_its_bin() -> None:
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    assert delay_quantile_ms(counts, 0.95) is None

    counts[3], counts[60] = 95, 5
    assert delay_quantile_ms(counts, 0.95) == DELAY_BIN_EDGES_MS[4]
    assert delay_quantile_ms(counts, 0.951) == DELAY_BIN_EDGES_MS[61]
    assert delay_quantile_ms(counts, 0.99) == DELAY_BIN_EDGES_MS[61]


def test_a_quantile_in_the_open_bin_is_its_lower_limit_of_the_scale() -> None:
    counts = np.zeros(NUM_BINS + 1, dtype=np.int64)
    counts[-1] = 3

    assert delay_quantile_ms(counts, 0.5) == DELAY_BIN_EDGES_MS[-1]

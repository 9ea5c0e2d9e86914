"""What stands out, where, and how grave it is."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.digest import AnomalyKind
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import LogRecord, SensorColumns, Severity, TelemetryFrame

_QUIET = {
    "prb_used": 20.0,
    "interference_dbm": -95.0,
    "is_up": 1,
    "is_asleep": 0,
    "edge_utilisation": 0.3,
    "backhaul_delay_ms": 2.2,
    "backhaul_utilisation": 0.2,
}
_COUNTERS = {
    "num_devices": 5,
    "offered_bits": 1e6,
    "served_bits": 1e6,
    "in_time_bits": 1e6,
    "prb_used": 5,
    "tasks_offered": 10,
    "tasks_in_time": 10,
    "edge_cycles_offered": 1e9,
    "edge_cycles_used": 1e9,
}


@pytest.fixture
def after(topology, make_frame, make_cell_columns, make_slice_columns):
    """Digests of the interval that follows 15 quiet ones, with the given cell and slice counters changed."""

    def run(cells=None, slices=None, logs=()):
        pipeline = EdgePipeline(topology)
        for k in range(16):
            last = k == 15
            cell_columns = make_cell_columns(**_QUIET | ((cells or {}) if last else {}))
            slice_columns = make_slice_columns(**_COUNTERS | ((slices or {}) if last else {}))
            frames = [make_frame(10 * k + t, cells=cell_columns, slices=slice_columns) for t in range(1, 11)]
            digests = pipeline.digest(frames, logs if last else ())
        return digests

    return run


def _said(digest):
    return [(anomaly.kind, anomaly.severity) for anomaly in digest.anomalies]


def test_a_quiet_interval_says_nothing(after):
    assert [_said(digest) for digest in after()] == [[], []]


def test_a_cell_out_of_service_is_critical_there_and_nowhere_else(after):
    first, second = after(cells={"is_up": (1, 0)})
    assert _said(first) == []
    assert _said(second) == [(AnomalyKind.RADIO, Severity.CRITICAL)]
    assert second.anomalies[0].evidence == "radio:1:outage:150-160"


def test_an_edge_node_that_leaves_work_undone_has_failed(after):
    first, _ = after(cells={"edge_utilisation": 0.0}, slices={"edge_cycles_used": [[0, 0], [1e9, 1e9]]})
    assert (AnomalyKind.COMPUTE, Severity.CRITICAL) in _said(first)


def test_a_busy_edge_node_has_not_failed(after):
    first, _ = after(cells={"edge_utilisation": 1.0}, slices={"edge_cycles_offered": 4e9})
    assert _said(first) == []


def test_a_claim_of_next_to_no_work_is_no_failure(after):
    first, _ = after(slices={"edge_cycles_offered": [[5e-324, 0], [1e9, 1e9]], "edge_cycles_used": [[1e12, 0], [0, 0]]})
    assert _said(first) == []


def test_a_slow_backhaul_is_major(after):
    _, second = after(cells={"backhaul_delay_ms": (2.2, 30.0)})
    assert _said(second) == [(AnomalyKind.BACKHAUL, Severity.MAJOR)]


def test_interference_counts_as_major_only_where_it_costs_efficiency(after):
    loud, _ = after(cells={"interference_dbm": -85.0})
    assert (AnomalyKind.RADIO, Severity.MAJOR) not in _said(loud)
    harmful, _ = after(cells={"interference_dbm": -85.0}, slices={"served_bits": 5e5})
    assert (AnomalyKind.RADIO, Severity.MAJOR) in _said(harmful)


def test_a_surge_of_one_slice_names_the_slice(after):
    first, second = after(slices={"offered_bits": [[1e6, 1e6], [1e6, 8e6]]})
    assert _said(first) == []
    assert _said(second) == [(AnomalyKind.DEMAND, Severity.MINOR)]
    assert str(second.anomalies[0].slice) == "2-000001"


def test_words_of_the_infrastructure_raise_alarms_and_words_of_a_device_do_not(after):
    text = "ERR backhaul degraded, traffic rerouted over a shared path"
    for source, expected in (("gateway", [(AnomalyKind.BACKHAUL, Severity.MAJOR)]), ("firmware", [])):
        first, _ = after(logs=[LogRecord(time_s=151.0, cell=0, source=source, text=text)])
        assert _said(first) == expected
        assert [event.name for event in first.events] == ["backhaul_loss"]


def test_sensors_that_stand_still_after_having_moved_are_stuck(topology, make_frame):
    pipeline = EdgePipeline(topology)
    rng = np.random.default_rng(1)
    for k in range(4):
        frames = []
        for t in range(1, 11):
            value = rng.normal(20.0, 1.0, 4)
            if k == 3:
                value[1] = 21.5
            plain = make_frame(10.0 * k + t)
            readings = SensorColumns(
                time_s=np.full(4, plain.time_s),
                device_id=np.arange(4),
                cell=np.array([0, 0, 1, 1], dtype=np.int16),
                stream=np.zeros(4, dtype=np.int16),
                value=value,
            )
            frames.append(
                TelemetryFrame(
                    time_s=plain.time_s, period_s=1.0, devices=plain.devices, sensors=readings, stream_names=("t",)
                )
            )
        first, second = pipeline.digest(frames, ())
    assert _said(first) == [(AnomalyKind.SENSOR, Severity.WARNING)]
    assert first.anomalies[0].evidence == "sensor:0:stuck.0.n1:30-40"
    assert _said(second) == []
    assert first.quality.rows_received == 20


def test_devices_that_claim_more_than_their_cell_counted_are_named_and_not_believed(
    topology, make_frame, make_slice_columns
):
    counters = make_slice_columns(num_devices=1, offered_bits=1e6, served_bits=1e6, in_time_bits=1e6, prb_used=5)
    frames = [
        make_frame(
            t,
            (1, 2),
            (0, 1),
            (0, 0),
            offered_bits=(1e6, 9e6),
            served_bits=1e6,
            backlog_bits=(1e4, 9e4),
            slices=counters,
        )
        for t in range(1, 11)
    ]
    first, second = EdgePipeline(topology).digest(frames, ())
    assert _said(first) == []
    assert _said(second) == [(AnomalyKind.DEMAND, Severity.MAJOR)]
    assert second.slices[0].demand_kbps == first.slices[0].demand_kbps == 1000.0
    assert second.slices[0].backlog_kbit == pytest.approx(10.0)


def test_a_storm_of_device_restarts_is_the_one_thing_that_device_lines_raise(after):
    lines = [
        LogRecord(
            time_s=151.0 + n, cell=1, source="firmware", text=f"[{n:5.2f}] dev-{n} E watchdog reset, boot count {n}"
        )
        for n in range(3)
    ]
    first, second = after(logs=lines)
    assert _said(first) == []
    assert _said(second) == [(AnomalyKind.LOG, Severity.MAJOR)]

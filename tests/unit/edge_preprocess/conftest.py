"""Hand-made topologies and frames."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from edge_preprocess.wire import dump_frame, dump_log, dump_topology
from telemetry_sim.records import (
    DELAY_BIN_EDGES_MS,
    CellColumns,
    DeviceColumns,
    LogRecord,
    SliceColumns,
    TelemetryFrame,
)
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology


@pytest.fixture(scope="session")
def topology():
    slices = (
        SliceProfile(
            id=SliceId(sst=1), name="video", five_qi=9, delay_budget_ms=300, in_time_target=0.9, packet_size_bits=12000
        ),
        SliceProfile(
            id=SliceId(sst=2, sd=1),
            name="control",
            five_qi=82,
            delay_budget_ms=10,
            in_time_target=0.99,
            packet_size_bits=1000,
            task_megacycles=5,
            task_deadline_ms=50,
        ),
    )
    cells = (
        CellSite(id=7, name="north", x_m=0, y_m=0, neighbours=(9,)),
        CellSite(id=9, name="south", x_m=500, y_m=0, neighbours=(7,)),
    )
    return Topology(cells=cells, slices=slices)


def _devices(device_id, cell, slice_index, values):
    count = len(device_id)
    columns = {
        f.name: np.broadcast_to(np.asarray(values.get(f.name, np.nan), dtype=float), (count,)).copy()
        for f in fields(DeviceColumns)
        if f.name not in {"device_id", "cell", "slice"}
    }
    return DeviceColumns(
        device_id=np.asarray(device_id, dtype=np.int64),
        cell=np.asarray(cell, dtype=np.int16),
        slice=np.asarray(slice_index, dtype=np.int16),
        **columns,
    )


@pytest.fixture(scope="session")
def make_frame():
    """A frame from ids, places and column=value pairs; what is not named is NaN."""

    def make(time_s, device_id=(), cell=(), slice=(), *, period_s=1.0, slices=None, cells=None, **values):  # noqa: A002 - the field's own word
        devices = _devices(device_id, cell, slice, values)
        return TelemetryFrame(time_s=time_s, period_s=period_s, devices=devices, slices=slices, cells=cells)

    return make


@pytest.fixture(scope="session")
def make_slice_columns():
    """Counters of 2 cells and 2 slices; what is not named is NaN, delays none."""

    def make(delay_counts=None, **values):
        names = [f.name for f in fields(SliceColumns) if f.name != "delay_counts"]
        columns = {
            name: np.broadcast_to(np.asarray(values.get(name, np.nan), dtype=float), (2, 2)).copy() for name in names
        }
        counts = np.zeros((2, 2, len(DELAY_BIN_EDGES_MS)), dtype=np.int64) if delay_counts is None else delay_counts
        return SliceColumns(delay_counts=counts, **columns)

    return make


@pytest.fixture(scope="session")
def make_cell_columns():
    """Counters of 2 cells; what is not named is NaN."""

    def make(policy_version=(0, 0), **values):
        names = [f.name for f in fields(CellColumns) if f.name != "policy_version"]
        columns = {
            name: np.broadcast_to(np.asarray(values.get(name, np.nan), dtype=float), (2,)).copy() for name in names
        }
        return CellColumns(policy_version=np.asarray(policy_version, dtype=np.int32), **columns)

    return make


@pytest.fixture
def lines(topology, make_frame):
    """A minute of telemetry: two frames in each of six intervals, log lines between them, one line of junk."""
    rng = np.random.default_rng(6)
    found = [dump_topology(topology)]
    for step in range(12):
        frame = make_frame(
            5.0 * (step + 1), (1, 2), (0, 1), (0, 1), period_s=5.0, served_bits=rng.uniform(1e5, 1e6, 2), prb=1
        )
        found += [dump_frame(frame)]
        record = LogRecord(time_s=5.0 * step + 5.1, cell=step % 2, source="gnb", text=f"ue={step} handover failure")
        found += [dump_log(record)]
    found.insert(7, "{junk")
    return [line.encode() + b"\n" for line in found]

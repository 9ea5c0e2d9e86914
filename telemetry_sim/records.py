"""What the network reports: columnar telemetry frames, log lines and alarms.

Shapes: D devices, C cells, S slices, B delay bins. Rows of a frame cover one report period that ends at `time_s`.
A value that the source does not report is NaN (float columns) or -1 (integer columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64, Int16, Int32, Int64
from numpy.typing import NDArray

PerDevice = Float64[NDArray[np.float64], " devices"]
PerCell = Float64[NDArray[np.float64], " cells"]
PerCellSlice = Float64[NDArray[np.float64], "cells slices"]
DelayCounts = Int64[NDArray[np.int64], "cells slices bins"]

DELAY_BIN_EDGES_MS = np.concatenate(([0.0], np.geomspace(0.1, 100_000.0, 121)))
"""Edges of the delay histogram: 20 bins a decade; the last bin is open. Source of the idea: 3GPP TS 28.552, 5.1.1.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceColumns:
    """One row per device that reported."""

    device_id: Int64[NDArray[np.int64], " devices"]
    cell: Int16[NDArray[np.int16], " devices"]
    """Index into the topology's cells."""
    slice: Int16[NDArray[np.int16], " devices"]
    """Index into the topology's slices."""
    offered_bits: PerDevice
    """Arrived at the downlink buffer."""
    served_bits: PerDevice
    """Acknowledged (DRB.PdcpSduVolumeDl)."""
    in_time_bits: PerDevice
    """The part of served_bits that met the packet delay budget."""
    dropped_bits: PerDevice
    """Discarded: too late, buffer full or refused."""
    backlog_bits: PerDevice
    """Waiting at the end of the period."""
    delay_ms: PerDevice
    """Mean sojourn of what was served (DRB.RlcSduDelayDl)."""
    prb: PerDevice
    """Mean number of PRBs granted."""
    sinr_db: PerDevice
    rsrp_dbm: PerDevice
    cqi: PerDevice
    mcs: PerDevice
    bler: PerDevice
    energy_j: PerDevice
    """Spent by the device in the period."""
    battery_j: PerDevice
    """Left; NaN for mains-powered devices."""


MEASUREMENTS: Mapping[str, str] = MappingProxyType(
    {
        "served_bits": "DRB.PdcpSduVolumeDL",
        "delay_ms": "DRB.RlcSduDelayDl",
        "prb": "RRU.PrbUsedDl",
        "rsrp_dbm": "L1M.SS-RSRP",
        "cqi": "CARR.WBCQIDist",
        "mcs": "CARR.PDSCHMCSDist",
    }
)
"""What 3GPP TS 28.552 calls the device columns that it has a measurement for; recordings carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceColumns:
    """One entry per cell and slice, counted by the cell itself."""

    num_devices: PerCellSlice
    offered_bits: PerCellSlice
    """Arrived at the downlink buffers in the period, whatever the devices report and when."""
    served_bits: PerCellSlice
    in_time_bits: PerCellSlice
    """The part of served_bits that met the packet delay budget."""
    dropped_bits: PerCellSlice
    num_refused: PerCellSlice
    """Devices that admission kept out."""
    prb_used: PerCellSlice
    """Mean number of PRBs used (RRU.PrbUsedDl per S-NSSAI)."""
    delay_counts: DelayCounts
    """Packets served per delay bin, see DELAY_BIN_EDGES_MS."""
    tasks_offered: PerCellSlice
    tasks_in_time: PerCellSlice
    edge_cycles_offered: PerCellSlice
    """CPU cycles that arrived at the edge node."""
    edge_cycles_used: PerCellSlice
    task_delay_ms: PerCellSlice
    """Mean end-to-end delay of the finished tasks; NaN without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellColumns:
    """One entry per cell."""

    prb_used: PerCell
    """Mean number of PRBs used (RRU.PrbTotDl times the cell's PRBs)."""
    interference_dbm: PerCell
    """Mean interference per PRB at the cell's devices."""
    tx_power_step_db: PerCell
    is_asleep: PerCell
    """0 or 1."""
    is_up: PerCell
    """0 while the cell is out of service."""
    edge_utilisation: PerCell
    """0-1."""
    backhaul_utilisation: PerCell
    """0-1."""
    backhaul_delay_ms: PerCell
    energy_j: PerCell
    """Radio and edge node together, in the period."""
    num_handovers: PerCell
    num_handover_failures: PerCell
    policy_version: Int32[NDArray[np.int32], " cells"]
    """Version of the policy in force (reported state)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorColumns:
    """Application readings that came in during the period, one row each."""

    time_s: Float64[NDArray[np.float64], " readings"]
    device_id: Int64[NDArray[np.int64], " readings"]
    cell: Int16[NDArray[np.int16], " readings"]
    stream: Int16[NDArray[np.int16], " readings"]
    """Index into TelemetryFrame.stream_names."""
    value: Float64[NDArray[np.float64], " readings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryFrame:
    """All devices at one tick."""

    time_s: float
    """End of the period, since the start of the run."""
    period_s: float
    devices: DeviceColumns
    slices: SliceColumns | None = None
    """None where the source has no cell-level counters (most recorded traces)."""
    cells: CellColumns | None = None
    sensors: SensorColumns | None = None
    stream_names: tuple[str, ...] = ()


class Severity(StrEnum):
    """Source: ITU-T X.733, 8.1.2.3."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log line as a device or node wrote it; `text` is not to be trusted."""

    time_s: float
    cell: int
    """Index of the cell whose edge node received it."""
    source: str
    """gnb, gateway or firmware."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A raised or cleared condition. Source: ITU-T X.733."""

    time_s: float
    cell: int
    severity: Severity
    kind: str
    """A fixed word from the source's own list, such as cell_outage."""
    is_cleared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """All that a network reported over a stretch of time, in order."""

    frames: tuple[TelemetryFrame, ...]
    logs: tuple[LogRecord, ...] = ()
    alarms: tuple[Alarm, ...] = ()

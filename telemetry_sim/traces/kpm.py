"""Reads the text that an E2 KPM monitoring xApp prints (OAI with FlexRIC): a block per device and report.

A report starts with `... KPM ind_msg latency = N [us]` (a line that ends the one before), each device with
`UE ID type`, and each measurement reads `NAME = VALUE [UNIT]` with the names of 3GPP TS 28.552. Reports come once a
second.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.topology import Topology
from telemetry_sim.traces.frame_building import DeviceRow, frames_as_reported, runs_of
from telemetry_sim.traces.trace import LoadedTrace, RowTally, TraceSummary
from telemetry_sim.traces.traffic_classes import EMBB, nr_cell, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PERIOD_S = 1.0
_SLOTS_PER_S = 2000.0
_NUM_PRB = 273
_MAX_LINE = 100_000
_PROBE_LINES = 200
_REPORT = re.compile(r"KPM ind_msg latency|^\s*KPM (?:Indication|report)", re.IGNORECASE)
_DEVICE = re.compile(r"UE ID type *=.*?_ue_(?:ngap|f1ap)[a-z_]* *= *(\d{1,15})", re.IGNORECASE)
_MEASUREMENT = re.compile(r"^\s*([A-Za-z]+\.[A-Za-z]+) *= *(\S+) *\[([^\]]+)\]\s*$")
_NAMES = frozenset({"DRB.PdcpSduVolumeDL", "DRB.RlcSduDelayDl", "DRB.UEThpDl", "RRU.PrbTotDl"})


def is_kpm(path: Path) -> bool:
    """Whether the path is a KPM monitor's output."""
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as stream:
        lines = [stream.readline(_MAX_LINE) for _ in range(_PROBE_LINES)]
    return any(_REPORT.search(line) for line in lines) and any(_MEASUREMENT.match(line) for line in lines)


def read_kpm(path: Path) -> LoadedTrace:
    """The reports as frames of a second; a row is a device's block in a report."""
    tally = RowTally()
    rows = list(_device_rows(path, tally))
    if not rows:
        raise TraceUnreadable(f"{path}: no usable block among {tally.rows_read}; quarantined {dict(tally.quarantined)}")
    frames = frames_as_reported(rows, period_s=PERIOD_S)
    return LoadedTrace(
        topology=Topology(cells=(nr_cell(1, "kpm-cell"),), slices=(slice_of(EMBB),)),
        summary=TraceSummary(
            format="kpm",
            rows_read=tally.rows_read,
            rows_accepted=tally.rows_accepted,
            quarantined=dict(tally.quarantined),
            num_devices=len({row.device_id for row in rows}),
            num_frames=len(frames),
            period_s=PERIOD_S,
            start_unix_s=math.nan,
            runs_s=runs_of([frame.time_s for frame in frames]),
            notes=dict(tally.notes),
        ),
        all_frames=frames,
    )


def _device_rows(path: Path, tally: RowTally) -> Iterator[DeviceRow]:
    for report, device_id, measured in _blocks(path):
        tally.read()
        reason = _fault(measured)
        if reason:
            tally.quarantine(reason)
            continue
        yield DeviceRow(time_s=report * PERIOD_S, device_id=device_id, cell=0, slice=0, values=_values(measured, tally))


def _blocks(path: Path) -> Iterator[tuple[int, int, dict[str, tuple[str, str]]]]:
    """Report number, device and (value, unit) by name of each device's block."""
    report, device_id = 0, -1
    measured: dict[str, tuple[str, str]] = {}
    with path.open(encoding="utf-8", errors="replace") as stream:
        while line := stream.readline(_MAX_LINE):
            device = _DEVICE.search(line)
            is_new_report = bool(_REPORT.search(line))
            if (device or is_new_report) and device_id >= 0:
                yield report, device_id, measured
                device_id, measured = -1, {}
            report += is_new_report
            if device:
                device_id = int(device.group(1))
            measurement = _MEASUREMENT.match(line)
            if measurement and measurement.group(1) in _NAMES:
                measured[measurement.group(1)] = (measurement.group(2), measurement.group(3))
    if device_id >= 0:
        yield report, device_id, measured


def _fault(measured: dict[str, tuple[str, str]]) -> str:
    if "DRB.UEThpDl" not in measured and "DRB.PdcpSduVolumeDL" not in measured:
        return "missing_rate"
    try:
        values = [float(value) for value, _ in measured.values()]
    except ValueError:
        return "not_a_number"
    if not all(map(math.isfinite, values)):
        return "not_finite"
    return "out_of_range" if min(values) < 0 or max(values) > 1e9 else ""


def _values(measured: dict[str, tuple[str, str]], tally: RowTally) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, (text, unit) in measured.items():
        value = float(text)
        if name == "DRB.PdcpSduVolumeDL":
            values["served_bits"] = value * 1e3
        elif name == "DRB.UEThpDl":
            values.setdefault("served_bits", value * 1e3 * PERIOD_S)
        elif name == "DRB.RlcSduDelayDl":
            values["delay_ms"] = value / 1e3
        elif unit.strip() == "%":
            values["prb"] = min(value, 100.0) / 100.0 * _NUM_PRB
        else:
            # The monitor prints PRBs summed over the report's slots.
            values["prb"] = min(value / (_SLOTS_PER_S * PERIOD_S), float(_NUM_PRB))
            tally.note("prb_summed_over_slots")
    return values

"""A period's counters as a telemetry frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import kernel
from telemetry_sim.energy import EDGE_BUSY_W_PER_GHZ, EDGE_IDLE_W_PER_GHZ, LOAD_SLOPE, SLEEP_W, STATIC_W
from telemetry_sim.network.load import attached_counts
from telemetry_sim.network.state import TABLE_LOW_DB, TABLE_STEP_DB, LinkTable, State
from telemetry_sim.records import CellColumns, DeviceColumns, SliceColumns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    InParts = Callable[[Callable[[int, int], None], int], None]
    """Does a range of work in parts, of which it gives the first place and the one after the last."""

_VALUES = (
    *("offered_bits", "served_bits", "in_time_bits", "dropped_bits", "backlog_bits", "delay_ms", "prb", "sinr_db"),
    *("rsrp_dbm", "cqi", "mcs", "bler", "energy_j", "battery_j"),
)


def device_columns(
    state: State, table: LinkTable, in_parts: InParts, *, time_s: float, num_steps: int, period_s: float
) -> DeviceColumns:
    """Rows of the devices whose report is due; their next one is an interval later."""
    num_devices = len(state.devices)
    reporting = np.empty(num_devices, np.int64)
    places = np.empty((2, num_devices), np.int16)
    values = np.empty((len(_VALUES), num_devices))
    filled: list[tuple[int, int]] = []

    def collect(first: int, last: int) -> None:
        num = _collect(state, table, first, last, time_s, num_steps, period_s, reporting, places, values)
        filled.append((first, first + num))

    in_parts(collect, num_devices)
    if sum(end - first for first, end in filled) < num_devices:
        told = np.concatenate([np.arange(first, end) for first, end in sorted(filled)])
        reporting, places, values = reporting[told], places[:, told], values[:, told]
    column = dict(zip(_VALUES, values, strict=True))
    # NumPy's logarithm takes eight at a time.
    rsrp_dbm = column["rsrp_dbm"]
    np.multiply(np.log10(rsrp_dbm, out=rsrp_dbm), 10.0, out=rsrp_dbm)
    return DeviceColumns(device_id=reporting, cell=places[0], slice=places[1], **column)


@kernel
def _collect(
    state: State,
    table: LinkTable,
    first: int,
    last: int,
    time_s: float,
    num_steps: int,
    period_s: float,
    reporting: NDArray[np.int64],
    places: NDArray[np.int16],
    values: NDArray[np.float64],
) -> int:
    """Number of reports of a range of devices, written from its first place on; each in one look at its device.

    `values` has the rows of _VALUES, RSRP not yet in dBm.
    """
    devices = state.devices
    num_slices = state.rows.shape[0] // state.cells.shape[0]
    n = first
    for device in range(first, last):
        cell = devices[device].cell
        if cell < 0 or not devices[device].is_on or devices[device].next_report_s > time_s + 1e-9:
            continue
        row = int(cell) * num_slices + int(devices[device].slice)
        devices[device].next_report_s = time_s + state.rows[row].report_interval_s
        reporting[n] = device
        places[0, n] = cell
        places[1, n] = devices[device].slice
        served = float(devices[device].served_packets)
        sinr_db = devices[device].sinr_sum_db / num_steps
        entry = min(max(int((sinr_db - TABLE_LOW_DB) / TABLE_STEP_DB), 0), table.cqi.shape[0] - 1)
        values[0, n] = devices[device].offered_bits
        values[1, n] = devices[device].served_bits
        values[2, n] = devices[device].in_time_bits
        values[3, n] = devices[device].dropped_bits
        values[4, n] = devices[device].backlog_bits
        values[5, n] = devices[device].delay_sum_s * 1000.0 / served if served > 0.0 else math.nan
        values[6, n] = devices[device].prb_ms / (period_s * 1000.0)
        values[7, n] = sinr_db
        # Power of one of a PRB's twelve subcarriers.
        values[8, n] = max(devices[device].signal_mw, 1e-30) / 12.0
        values[9, n] = table.cqi[entry]
        values[10, n] = table.mcs[entry]
        values[11, n] = table.bler[entry]
        values[12, n] = devices[device].energy_j
        values[13, n] = devices[device].battery_j
        n += 1
    return n - first


def slice_columns(state: State, *, period_s: float) -> SliceColumns:
    """What each cell counted per slice."""
    rows = state.rows
    num_cells = len(state.cells)
    num_rows = len(rows)
    shape = (num_cells, num_rows // num_cells)
    attached, refused = np.zeros(num_rows, np.int64), np.zeros(num_rows, np.int64)
    _count(state, attached, refused)
    delay_ms = np.full(num_rows, math.nan)
    np.divide(rows["task_delay_s"] * 1000.0, rows["tasks_done"], out=delay_ms, where=rows["tasks_done"] > 0)

    def grid(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        return values.astype(np.float64).reshape(shape)

    return SliceColumns(
        num_devices=grid(attached),
        offered_bits=grid(rows["offered_bits"]),
        served_bits=grid(rows["served_bits"]),
        in_time_bits=grid(rows["in_time_bits"]),
        dropped_bits=grid(rows["dropped_bits"]),
        num_refused=grid(refused),
        prb_used=grid(rows["prb_ms"] / (period_s * 1000.0)),
        delay_counts=state.delay_counts.reshape(*shape, -1).copy(),
        tasks_offered=grid(rows["tasks_offered"]),
        tasks_in_time=grid(rows["tasks_in_time"]),
        edge_cycles_offered=grid(rows["edge_cycles_offered"]),
        edge_cycles_used=grid(rows["edge_cycles_used"]),
        task_delay_ms=grid(delay_ms),
    )


@kernel
def _count(state: State, attached: NDArray[np.int64], refused: NDArray[np.int64]) -> None:
    """Devices per row that are on, and those of them that admission refuses."""
    devices = state.devices
    num_slices = state.rows.shape[0] // state.cells.shape[0]
    for device in range(devices.shape[0]):
        cell = devices[device].cell
        if cell >= 0 and devices[device].is_on:
            row = int(cell) * num_slices + int(devices[device].slice)
            attached[row] += 1
            refused[row] += not devices[device].is_admitted


def cell_columns(state: State, policy_version: NDArray[np.int32], *, period_s: float) -> CellColumns:
    """What each cell says about itself."""
    cells = state.cells
    num_attached = attached_counts(state).reshape(len(cells), -1).sum(axis=1)
    interference_mw = np.maximum(cells["interference_mw"] / np.maximum(num_attached, 1), 1e-30)
    edge_utilisation = np.minimum(1.0, cells["edge_cycles"] / (cells["edge_hz"] * period_s))
    # The busier direction counts.
    carried = np.maximum(cells["backhaul_bits"], cells["backhaul_up_bits"]) / (
        np.maximum(cells["backhaul_bps"] * cells["backhaul_factor"], 1.0) * period_s
    )
    wait_s = cells["backhaul_wait_s"] / np.maximum(cells["backhaul_packets"], 1)
    return CellColumns(
        prb_used=cells["prb_ms"] / (period_s * 1000.0) + cells["lost_prb"],
        interference_dbm=10.0 * np.log10(interference_mw),
        tx_power_step_db=cells["power_step_db"].copy(),
        is_asleep=cells["is_asleep"].astype(np.float64),
        is_up=cells["is_up"].astype(np.float64),
        edge_utilisation=edge_utilisation,
        backhaul_utilisation=np.minimum(1.0, carried),
        backhaul_delay_ms=(cells["backhaul_s"] + wait_s) * 1000.0,
        energy_j=_cell_power_w(state, edge_utilisation, period_s) * period_s,
        num_handovers=cells["num_handovers"].astype(np.float64),
        num_handover_failures=cells["num_handover_failures"].astype(np.float64),
        policy_version=policy_version.copy(),
    )


def _cell_power_w(state: State, edge_utilisation: NDArray[np.float64], period_s: float) -> NDArray[np.float64]:
    cells = state.cells
    radiated_w = cells["full_power_mw"] / 1000.0 * 10.0 ** (0.1 * cells["power_step_db"])
    utilisation = np.minimum(1.0, (cells["prb_ms"] / (period_s * 1000.0) + cells["lost_prb"]) / cells["num_prb"])
    radio_w = np.where(cells["is_asleep"], SLEEP_W, STATIC_W + LOAD_SLOPE * radiated_w * utilisation) * cells["is_up"]
    per_ghz = EDGE_IDLE_W_PER_GHZ + (EDGE_BUSY_W_PER_GHZ - EDGE_IDLE_W_PER_GHZ) * edge_utilisation
    return np.asarray(radio_w + cells["edge_hz"] / 1e9 * per_ghz * (cells["edge_factor"] > 0.0))

"""A period's counters as a telemetry frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import kernel
from telemetry_sim.energy import EDGE_BUSY_W_PER_GHZ, EDGE_IDLE_W_PER_GHZ, LOAD_SLOPE, SLEEP_W, STATIC_W
from telemetry_sim.network.state import TABLE_LOW_DB, TABLE_STEP_DB, LinkTable, Records, State
from telemetry_sim.records import CellColumns, DeviceColumns, SliceColumns

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GATHERED = (
    *("offered_bits", "served_bits", "in_time_bits", "dropped_bits", "backlog_bits", "served_packets", "delay_sum_s"),
    *("prb_ms", "sinr_sum_db", "signal_mw", "energy_j", "battery_j"),
)


def device_columns(
    state: State, table: LinkTable, reporting: NDArray[np.int64], *, num_steps: int, period_s: float
) -> DeviceColumns:
    """Rows of the devices that report now."""
    devices = state.devices
    places = np.empty((2, len(reporting)), np.int16)
    values = np.empty((len(_GATHERED), len(reporting)))
    _gather(devices, reporting, places, values)
    column = dict(zip(_GATHERED, values, strict=True))
    sinr_db = column["sinr_sum_db"] / num_steps
    entry = np.clip(((sinr_db - TABLE_LOW_DB) / TABLE_STEP_DB).astype(np.int64), 0, len(table.cqi) - 1)
    served = column["served_packets"]
    delay_ms = np.full(len(reporting), math.nan)
    np.divide(column["delay_sum_s"] * 1000.0, served, out=delay_ms, where=served > 0)
    power_mw = np.maximum(column["signal_mw"], 1e-30)
    return DeviceColumns(
        device_id=reporting,
        cell=places[0],
        slice=places[1],
        offered_bits=column["offered_bits"],
        served_bits=column["served_bits"],
        in_time_bits=column["in_time_bits"],
        dropped_bits=column["dropped_bits"],
        backlog_bits=column["backlog_bits"],
        delay_ms=delay_ms,
        prb=column["prb_ms"] / (period_s * 1000.0),
        sinr_db=sinr_db,
        # Power of one of a PRB's twelve subcarriers.
        rsrp_dbm=10.0 * np.log10(power_mw / 12.0),
        cqi=table.cqi[entry].astype(np.float64),
        mcs=table.mcs[entry].astype(np.float64),
        bler=table.bler[entry].astype(np.float64),
        energy_j=column["energy_j"],
        battery_j=column["battery_j"],
    )


@kernel
def _gather(
    devices: Records, reporting: NDArray[np.int64], places: NDArray[np.int16], values: NDArray[np.float64]
) -> None:
    """Columns from records in one look at each; `values` has the rows of _GATHERED."""
    for n in range(reporting.shape[0]):
        device = reporting[n]
        places[0, n] = devices[device].cell
        places[1, n] = devices[device].slice
        values[0, n] = devices[device].offered_bits
        values[1, n] = devices[device].served_bits
        values[2, n] = devices[device].in_time_bits
        values[3, n] = devices[device].dropped_bits
        values[4, n] = devices[device].backlog_bits
        values[5, n] = devices[device].served_packets
        values[6, n] = devices[device].delay_sum_s
        values[7, n] = devices[device].prb_ms
        values[8, n] = devices[device].sinr_sum_db
        values[9, n] = devices[device].signal_mw
        values[10, n] = devices[device].energy_j
        values[11, n] = devices[device].battery_j


def slice_columns(state: State, *, period_s: float) -> SliceColumns:
    """What each cell counted per slice."""
    rows, devices = state.rows, state.devices
    num_cells = len(state.cells)
    num_rows = len(rows)
    shape = (num_cells, num_rows // num_cells)
    attached = (devices["cell"] >= 0) & devices["is_on"]
    row = devices["cell"][attached].astype(np.int64) * shape[1] + devices["slice"][attached]
    refused = np.bincount(row, ~devices["is_admitted"][attached], minlength=num_rows)
    delay_ms = np.full(num_rows, math.nan)
    np.divide(rows["task_delay_s"] * 1000.0, rows["tasks_done"], out=delay_ms, where=rows["tasks_done"] > 0)

    def grid(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        return values.astype(np.float64).reshape(shape)

    return SliceColumns(
        num_devices=grid(np.bincount(row, minlength=num_rows)),
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


def cell_columns(state: State, policy_version: NDArray[np.int32], *, period_s: float) -> CellColumns:
    """What each cell says about itself."""
    cells, devices = state.cells, state.devices
    num_attached = np.bincount(devices["cell"][devices["cell"] >= 0], minlength=len(cells))
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

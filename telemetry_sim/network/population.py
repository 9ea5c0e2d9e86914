"""A network's state at time zero, drawn from a scenario and a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.compute import MAX_QUEUED_TASKS, TASK
from telemetry_sim.energy import DEVICE_AMPLIFIER_EFFICIENCY
from telemetry_sim.network.state import (
    CELL,
    DEVICE,
    LINK,
    ROW,
    TABLE_LOW_DB,
    TABLE_SIZE,
    TABLE_STEP_DB,
    LinkTable,
    Records,
    State,
    cache_aligned,
    views,
)
from telemetry_sim.queueing import PACKET
from telemetry_sim.radio.block_error import block_error_rate
from telemetry_sim.radio.link_adaptation import CQI_TARGET_BLER, choose_mcs, cqi
from telemetry_sim.radio.modulation import MCS_EFFICIENCY
from telemetry_sim.radio.noise import DEVICE_NOISE_FIGURE_DB, thermal_noise_dbm
from telemetry_sim.radio.path_loss import BASE_STATION_HEIGHT_M, ENVIRONMENT_CODE
from telemetry_sim.radio.transport_block import RE_PER_PRB
from telemetry_sim.records import DELAY_BIN_EDGES_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from telemetry_sim.scenarios import Scenario

NUM_CANDIDATES = 7
"""The serving cell and the six strongest interferers."""
_NUM_DELAY_BINS = len(DELAY_BIN_EDGES_MS) - 1
_SLOTS_PER_MS_AT_180_KHZ = 1.0
_EDGE_M = 50.0


def link_table() -> LinkTable:
    """What link adaptation makes of each SINR."""
    sinr_db = TABLE_LOW_DB + TABLE_STEP_DB * np.arange(TABLE_SIZE)
    mcs = np.asarray(choose_mcs(sinr_db, CQI_TARGET_BLER), dtype=np.int64)
    known = np.maximum(mcs, 0)
    bler = np.where(mcs >= 0, block_error_rate(sinr_db, known), 1.0)
    return LinkTable(
        bits_per_slot=np.where(mcs >= 0, RE_PER_PRB * MCS_EFFICIENCY[known] * (1.0 - bler), 0.0),
        cqi=np.asarray(cqi(sinr_db), dtype=np.int8),
        mcs=mcs.astype(np.int8),
        bler=bler.astype(np.float32),
    )


def bounds_of(scenario: Scenario) -> NDArray[np.float64]:
    """The rectangle that devices stay in: x and y, low and high, in metres."""
    x_m = np.array([cell.x_m for cell in scenario.topology.cells])
    y_m = np.array([cell.y_m for cell in scenario.topology.cells])
    reach = scenario.cell_radius_m + _EDGE_M
    return np.array([x_m.min() - reach, x_m.max() + reach, y_m.min() - reach, y_m.max() + reach])


def nearest_by_tile(scenario: Scenario, bounds: NDArray[np.float64]) -> NDArray[np.int16]:
    """The nearest cells of each tile of the area, tiles x tiles x candidates."""
    cells = scenario.topology.cells
    num = min(NUM_CANDIDATES, len(cells))
    per_side = max(1, math.ceil(2.0 * math.sqrt(len(cells))))
    positions = np.array([[cell.x_m, cell.y_m] for cell in cells])
    middles = (np.arange(per_side) + 0.5) / per_side
    x_m = bounds[0] + middles * (bounds[1] - bounds[0])
    y_m = bounds[2] + middles * (bounds[3] - bounds[2])
    tiles = np.empty((per_side, per_side, num), np.int16)
    for line in range(per_side):
        distance_m = np.hypot(x_m[:, None] - positions[:, 0], y_m[line] - positions[:, 1])
        tiles[line] = np.argsort(distance_m, axis=1, kind="stable")[:, :num]
    return tiles


def home_cells_and_slices(scenario: Scenario) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Home cell and slice of each device: neighbours in number are neighbours in place."""
    num_cells = len(scenario.topology.cells)
    parts = np.array([population.part for population in scenario.populations])
    ends = np.rint(np.cumsum(parts) * scenario.num_devices).astype(np.int64)
    counts = np.maximum(1, np.diff(ends, prepend=0))
    counts[np.argmax(counts)] += scenario.num_devices - counts.sum()
    slices = np.repeat(np.arange(len(counts)), counts)
    homes = np.concatenate([np.arange(count) % num_cells for count in counts])
    order = np.lexsort((slices, homes))
    return homes[order], slices[order]


def build_cells(scenario: Scenario) -> Records:
    """The cells, idle and up."""
    sites = scenario.topology.cells
    num = len(sites)

    def each(values: list[float]) -> NDArray[np.float64]:
        return np.array(values, dtype=np.float64)

    noise_dbm = thermal_noise_dbm(each([site.prb_khz * 1000.0 for site in sites]), DEVICE_NOISE_FIGURE_DB)
    return _records(
        CELL,
        num,
        x_m=each([site.x_m for site in sites]),
        y_m=each([site.y_m for site in sites]),
        height_m=each([BASE_STATION_HEIGHT_M[site.environment] for site in sites]),
        environment=np.array([ENVIRONMENT_CODE[site.environment] for site in sites], dtype=np.int64),
        carrier_ghz=each([site.carrier_ghz for site in sites]),
        num_prb=each([float(site.num_prb) for site in sites]),
        slots_per_ms=each([site.prb_khz / 180.0 * _SLOTS_PER_MS_AT_180_KHZ for site in sites]),
        noise_mw=10.0 ** (0.1 * noise_dbm),
        full_power_mw=10.0 ** (0.1 * each([site.tx_power_dbm for site in sites])),
        is_up=np.ones(num, np.bool_),
        load=np.full(num, 0.7),
        edge_hz=each([site.edge_cpu_ghz * 1e9 for site in sites]),
        edge_cores=np.array([site.edge_cores for site in sites], dtype=np.int64),
        edge_factor=np.ones(num),
        backhaul_bps=each([site.backhaul_mbps * 1e6 for site in sites]),
        backhaul_factor=np.ones(num),
        backhaul_s=each([site.backhaul_ms / 1000.0 for site in sites]),
    )


def build_rows(scenario: Scenario) -> Records:
    """The uniform split in force everywhere: it is what doing nothing means."""
    num_cells = len(scenario.topology.cells)
    profiles = scenario.topology.slices
    num_slices = len(profiles)
    num = num_cells * num_slices

    def per_slice(values: list[float]) -> NDArray[np.float64]:
        return np.tile(np.array(values, dtype=np.float64), num_cells)

    budgets_s = [profile.delay_budget_ms / 1000.0 for profile in profiles]
    discards_s = [
        budget_s * population.discard_factor
        for budget_s, population in zip(budgets_s, scenario.populations, strict=True)
    ]
    even = (100 // num_slices) / 100.0
    return _records(
        ROW,
        num,
        guaranteed=np.full(num, even),
        ceiling=np.ones(num),
        scheduler=np.full(num, 1, np.int8),
        cap_bits_per_ms=np.full(num, np.inf),
        admission_cap=np.full(num, -1, np.int64),
        compute=np.full(num, even),
        offload_edge=np.ones(num),
        report_interval_s=np.ones(num),
        demand_factor=np.ones(num),
        task_factor=np.ones(num),
        budget_s=per_slice(budgets_s),
        discard_s=per_slice(discards_s),
        deadline_s=per_slice([profile.task_deadline_ms / 1000.0 for profile in profiles]),
    )


def build_devices(scenario: Scenario, rng: np.random.Generator) -> Records:
    """Devices in place, unattached, their sources about to start."""
    homes, slices = home_cells_and_slices(scenario)
    num = scenario.num_devices
    sites = scenario.topology.cells
    radius_m = scenario.cell_radius_m * np.sqrt(rng.uniform(0.002, 1.0, num))
    angle = rng.uniform(0.0, 2.0 * math.pi, num)
    x_m = np.array([site.x_m for site in sites])[homes] + radius_m * np.cos(angle)
    y_m = np.array([site.y_m for site in sites])[homes] + radius_m * np.sin(angle)
    people = scenario.populations

    def by_slice(values: list[float], dtype: type = np.float64) -> NDArray[np.float64]:
        return np.array(values, dtype=dtype)[slices]

    packets_per_s = by_slice([p.traffic.packets_per_s for p in people])
    tasks_per_s = by_slice([p.tasks_per_s for p in people])
    with np.errstate(divide="ignore"):
        first_packet_s = rng.uniform(0.0, 1.0, num) / packets_per_s
        first_task_s = rng.exponential(1.0, num) / tasks_per_s
    speed_mps = by_slice([p.mobility.speed_mps for p in people], np.float32)
    spread = np.where(speed_mps > 0.0, rng.uniform(0.7, 1.3, num), 1.0).astype(np.float32)
    return _records(
        DEVICE,
        num,
        slice=slices.astype(np.int16),
        cell=np.full(num, -1, np.int16),
        x_m=x_m,
        y_m=y_m,
        heading_rad=rng.uniform(0.0, 2.0 * math.pi, num).astype(np.float32),
        speed_mps=(speed_mps * spread).astype(np.float32),
        mobility=by_slice([int(p.mobility.kind) for p in people], np.int8),
        traffic=by_slice([int(p.traffic.kind) for p in people], np.int8),
        packets_per_s=packets_per_s,
        size_bits=by_slice([p.traffic.size_bits for p in people]),
        on_s=by_slice([p.traffic.on_s for p in people], np.float32),
        off_s=by_slice([p.traffic.off_s for p in people], np.float32),
        position=rng.integers(0, 1000, num).astype(np.int32),
        next_packet_s=first_packet_s,
        demand_factor=np.ones(num),
        tasks_per_s=tasks_per_s,
        task_cycles=by_slice([profile.task_megacycles * 1e6 for profile in scenario.topology.slices]),
        task_bits=by_slice([p.task_bits for p in people]),
        has_exponential_tasks=by_slice([p.has_exponential_tasks for p in people], np.bool_),
        next_task_s=first_task_s,
        cpu_ghz=by_slice([p.cpu_ghz for p in people], np.float32),
        head_arrival_s=np.full(num, np.inf),
        head_ready_s=np.full(num, np.inf),
        is_admitted=np.ones(num, np.bool_),
        is_on=np.ones(num, np.bool_),
        fade_real=(rng.standard_normal(num) * math.sqrt(0.5)).astype(np.float32),
        fade_imaginary=(rng.standard_normal(num) * math.sqrt(0.5)).astype(np.float32),
        disturbance_mw=np.ones(num),
        battery_j=by_slice([math.nan if p.battery_j is None else p.battery_j for p in people]),
        transmit_w=by_slice(
            [10.0 ** (0.1 * p.transmit_dbm - 3.0) / DEVICE_AMPLIFIER_EFFICIENCY for p in people], np.float32
        ),
    )


def build_links(
    scenario: Scenario,
    devices: Records,
    tiles: NDArray[np.int16],
    bounds: NDArray[np.float64],
    rng: np.random.Generator,
) -> Records:
    """Each device's candidate cells, the links to them still to be drawn."""
    per_side = tiles.shape[0]
    column = ((devices["x_m"] - bounds[0]) / (bounds[1] - bounds[0]) * per_side).astype(np.int64)
    line = ((devices["y_m"] - bounds[2]) / (bounds[3] - bounds[2]) * per_side).astype(np.int64)
    links = cache_aligned((scenario.num_devices, tiles.shape[2]), LINK)
    links["cell"] = tiles[line, column]
    links["sight"] = rng.uniform(0.0, 1.0, links.shape)
    return links


def build_state(
    scenario: Scenario, tiles: NDArray[np.int16], bounds: NDArray[np.float64], rng: np.random.Generator
) -> State:
    """Everything at time zero."""
    num = scenario.num_devices
    rows = build_rows(scenario)
    devices = build_devices(scenario, rng)
    links = build_links(scenario, devices, tiles, bounds, rng)
    devices["rng"] = rng.integers(0, 2**64, size=num, dtype=np.uint64)
    devices["active_place"] = devices["event_next"] = -1
    return State(
        devices=devices,
        links=links,
        cells=build_cells(scenario),
        rows=rows,
        packets=cache_aligned((num, scenario.queue_places), PACKET),
        tasks=np.zeros((len(rows), MAX_QUEUED_TASKS), TASK),
        delay_counts=np.zeros((len(rows), _NUM_DELAY_BINS), np.int64),
        task_delay_counts=np.zeros((len(rows), _NUM_DELAY_BINS), np.int64),
        members=np.zeros(num, np.int32),
        start=np.zeros(len(rows) + 2, np.int64),
        active=np.zeros(num, np.int32),
        active_ready_s=np.zeros(num),
        active_rank=np.zeros(num),
        active_need_prb=np.zeros(num),
        **views(devices),
    )


def _records(dtype: np.dtype[np.void], num: int, **columns: NDArray[Any]) -> Records:
    """Records with the columns given; the others are zero."""
    records = cache_aligned(num, dtype)
    for name, values in columns.items():
        records[name] = values
    return records

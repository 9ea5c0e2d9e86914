"""A running network."""

from __future__ import annotations

import copy
import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.actions import Acknowledgement
from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.event_log import EventLog
from telemetry_sim.faults import draw_faults
from telemetry_sim.network.backhaul import SharedBackhaul
from telemetry_sim.network.disturbances import impose
from telemetry_sim.network.frames import cell_columns, device_columns, slice_columns
from telemetry_sim.network.incidents import alarms_between, log_period
from telemetry_sim.network.kernel import run_cells, run_detached, sort_devices
from telemetry_sim.network.lies import exaggerate
from telemetry_sim.network.links import draw_links, move_devices, share_shadows, update_links
from telemetry_sim.network.load import demand_factor, draw_load, num_attached, usual_prb_share
from telemetry_sim.network.lora_uplinks import LoraUplinks
from telemetry_sim.network.policy_in_force import check_sums, enforce, target_cells
from telemetry_sim.network.population import (
    bounds_of,
    build_state,
    home_cells_and_slices,
    link_table,
    nearest_by_tile,
)
from telemetry_sim.network.sensors import Sensors
from telemetry_sim.network.state import TABLE_LOW_DB, TABLE_STEP_DB, VIEWS, add_up, clear_counters, copy_state
from telemetry_sim.records import Telemetry, TelemetryFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from telemetry_sim.actions import ControlAction
    from telemetry_sim.faults import Fault
    from telemetry_sim.records import DelayCounts
    from telemetry_sim.scenarios import Scenario

REPORT_PRB_MS = 8.0
"""What one device report takes from its cell: scheduling request, grant and measurement report."""
_NOMINAL_LOAD = 0.8
"""Interference at which the sources' usual need is reckoned."""
_PARTS_PER_THREAD = 12
"""More than one, so that a busy one holds nobody up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What has happened to every packet since the start: offered = served + dropped + waiting, exactly."""

    offered_bits: float
    served_bits: float
    dropped_bits: float
    waiting_bits: float
    offered_packets: int
    served_packets: int
    dropped_packets: int
    waiting_packets: int
    packet_s: float
    """Area under the number of packets that wait or are being sent."""
    waiting_tasks: int
    """Offloaded tasks at the edge nodes."""
    task_s: float
    """Area under the number of tasks at the edge nodes."""


class Network:
    """A scenario that runs. The same scenario and seed give the same bytes."""

    def __init__(self, scenario: Scenario, *, seed: int | np.random.SeedSequence, num_threads: int = 1) -> None:
        sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        place, load, faults, log, sensors, lora = (np.random.default_rng(child) for child in sequence.spawn(6))
        self.topology = scenario.topology
        self.time_s = 0.0
        self._scenario = scenario
        self._num_threads = max(1, num_threads)
        self._num_slices = len(self.topology.slices)
        self._bounds = bounds_of(scenario)
        self._tiles = nearest_by_tile(scenario, self._bounds)
        self._table = link_table()
        self._state = build_state(scenario, self._tiles, self._bounds, place)
        self._policy_version = np.zeros(len(self.topology.cells), np.int32)
        homes, slices = home_cells_and_slices(scenario)
        self._faults = draw_faults(
            scenario.faults,
            homes=homes,
            slices=slices,
            rng=faults,
        )
        self._log = EventLog(log, period_s=scenario.period_s)
        self._sensors = Sensors(scenario, self._state.devices["slice"], sensors)
        self._lora = LoraUplinks(scenario, homes, slices, lora)
        self._lora.settle(self._state)
        self._backhaul = SharedBackhaul(self.topology) if self.topology.backhaul else None
        self._backhaul_s = self._state.cells["backhaul_s"].copy() if self._backhaul is None else self._backhaul.delay_s
        self._wanted_bps = self._state.cells["backhaul_bps"].copy()
        self._load = (
            None if scenario.load is None else draw_load(scenario.load, num_cells=len(self.topology.cells), rng=load)
        )
        # Spawned after all the others, whose chances it must not move.
        shadows = np.random.default_rng(sequence.spawn(1)[0]) if scenario.has_shared_shadows else None
        self._usual = self._attach_all(shadows)
        self._bits = dict.fromkeys(("offered_bits", "served_bits", "dropped_bits"), 0.0)
        self._packets = dict.fromkeys(("offered_packets", "served_packets", "dropped_packets"), 0)
        self._waiting_packets = self._waiting_tasks = 0
        self._packet_s = self._task_s = 0.0

    def run(self, duration_s: float) -> Telemetry:
        """Advance; frames, logs and alarms of that stretch. `duration_s` must be a whole number of periods."""
        num_periods = round(duration_s / self._scenario.period_s)
        if num_periods < 1 or abs(num_periods * self._scenario.period_s - duration_s) > 1e-6:
            raise ScenarioInvalid(
                f"duration_s: {duration_s!r}, a positive multiple of {self._scenario.period_s} s needed"
            )
        begin_s = self.time_s
        frames = tuple(self._run_period() for _ in range(num_periods))
        return Telemetry(
            frames=frames, logs=self._log.take(), alarms=alarms_between(self._faults, begin_s, self.time_s)
        )

    def apply(self, actions: Sequence[ControlAction], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        """Obey; one acknowledgement per cell named. Raises ActionInvalid, and then nothing was applied."""
        targets = target_cells(actions, self.topology)
        check_sums(actions, self.topology, self._state)
        reachable = {cell for cell in targets if self._state.cells["is_up"][cell]}
        for action in actions:
            if self.topology.cell_index(action.cell) in reachable:
                enforce(action, self.topology, self._state)
        for cell in reachable:
            self._policy_version[cell] = policy_version
        return tuple(
            Acknowledgement(
                cell=self.topology.cells[cell].id,
                policy_version=policy_version,
                applied=cell in reachable,
                reason="" if cell in reachable else "cell out of service",
            )
            for cell in targets
        )

    def ground_truth(self) -> tuple[Fault, ...]:
        """What goes wrong in this run, by start; never shown to planners."""
        return self._faults

    @property
    def num_bytes(self) -> int:
        """Memory that the network's state takes."""
        own = (array for name, array in self._state._asdict().items() if name not in VIEWS)
        return int(sum(np.asarray(array).nbytes for array in own))

    def totals(self) -> Totals:
        """The account of all packets so far."""
        devices = self._state.devices
        return Totals(
            offered_bits=self._bits["offered_bits"],
            served_bits=self._bits["served_bits"],
            dropped_bits=self._bits["dropped_bits"],
            offered_packets=self._packets["offered_packets"],
            served_packets=self._packets["served_packets"],
            dropped_packets=self._packets["dropped_packets"],
            waiting_bits=float(devices["backlog_bits"].sum()),
            waiting_packets=int(devices["count"].sum()),
            packet_s=self._packet_s,
            waiting_tasks=self._waiting_tasks,
            task_s=self._task_s,
        )

    def fork(self, *, seed: int | np.random.SeedSequence | None = None) -> Network:
        """A network that goes on from here on its own; with a seed, its chances differ from the original's."""
        twin = copy.copy(self)
        twin._state = copy_state(self._state)  # noqa: SLF001 - a copy of this very object
        twin._policy_version = self._policy_version.copy()  # noqa: SLF001
        twin._bits, twin._packets = self._bits.copy(), self._packets.copy()  # noqa: SLF001
        twin._log, twin._sensors, twin._lora = copy.deepcopy((self._log, self._sensors, self._lora))  # noqa: SLF001
        twin._wanted_bps = self._wanted_bps.copy()  # noqa: SLF001
        if seed is not None:
            rng = np.random.default_rng(seed)
            twin._state.rng[:] = rng.integers(0, 2**64, size=len(twin._state.rng), dtype=np.uint64)  # noqa: SLF001
        return twin

    def _attach_all(self, shadows: np.random.Generator | None) -> NDArray[np.float64]:
        """Draw the first links; what a source usually needs of its cell."""
        state, scenario = self._state, self._scenario
        draw_links(state, scenario.step_s)
        if shadows is not None:
            share_shadows(state, shadows)
        load = state.cells["load"].copy()
        state.cells["load"][:] = _NOMINAL_LOAD
        update_links(state, 0.0)
        sinr_db = 10.0 * np.log10(np.maximum(state.devices["signal_mw"], 1e-30) / state.devices["disturbance_mw"])
        entry = np.clip((sinr_db - TABLE_LOW_DB) / TABLE_STEP_DB, 0, len(self._table.bits_per_slot) - 1).astype(
            np.int64
        )
        slots = state.cells["slots_per_ms"][np.maximum(state.devices["cell"], 0)]
        state.devices["bits_per_prb_ms"][:] = self._table.bits_per_slot[entry] * slots
        # A device that hardly hears its cell must not set the scale for all.
        floor = 0.2 * float(np.median(state.devices["bits_per_prb_ms"]))
        np.maximum(state.devices["bits_per_prb_ms"], floor, out=state.devices["bits_per_prb_ms"])
        state.devices["blocked_until_s"][:] = 0.0
        state.cells["load"][:] = load
        return usual_prb_share(state)

    def _run_period(self) -> TelemetryFrame:
        scenario, state, begin_s = self._scenario, self._state, self.time_s
        num_steps = round(scenario.period_s / scenario.step_s)
        end_s = begin_s + scenario.period_s
        clear_counters(state)
        self._set_demand(begin_s)
        impose(self._faults, scenario.backhaul_gaps, state, begin_s, self._num_slices)
        self._set_backhaul(begin_s)
        if begin_s > 0.0:
            self._in_parts(self._move_devices, len(state.devices))
        update_links(state, begin_s)
        self._admit()
        sort_devices(state)
        run_detached(state, begin_s, end_s)
        self._in_parts(functools.partial(self._run_cells, begin_s, num_steps), len(state.cells))
        self.time_s = end_s
        *counted, waiting_packets = add_up(state.devices)
        for name, bits in zip(self._bits, counted[:3], strict=True):
            self._bits[name] += bits
        for name, packets in zip(self._packets, counted[3:], strict=True):
            self._packets[name] += int(packets)
        self._add_areas(waiting_packets, begin_s, end_s)
        self._note_wanted()
        frame = self._report(num_steps)
        used = state.cells["prb_ms"] / (1000.0 * scenario.period_s) + state.cells["lost_prb"]
        state.cells["load"][:] = np.minimum(1.0, used / state.cells["num_prb"])
        self._charge_reports(frame)
        log_period(self._log, state, self._faults, end_s)
        return frame

    def _add_areas(self, waiting_packets: int, begin_s: float, end_s: float) -> None:
        """Add the period's areas under the queues: what waited at its begin and end, what came and what went."""
        rows = self._state.rows
        self._packet_s += waiting_packets * end_s - self._waiting_packets * begin_s
        self._waiting_packets = waiting_packets
        self._packet_s += float(rows["packets_went_s"].sum() - rows["packets_came_s"].sum())
        tasks = self._waiting_tasks + int(rows["tasks_came"].sum() - rows["tasks_went"].sum())
        self._task_s += tasks * end_s - self._waiting_tasks * begin_s
        self._task_s += float(rows["tasks_went_s"].sum() - rows["tasks_came_s"].sum())
        self._waiting_tasks = tasks

    def task_delay_counts(self) -> DelayCounts:
        """Tasks finished in the last period per bin of DELAY_BIN_EDGES_MS, from birth to result."""
        shape = (len(self.topology.cells), self._num_slices, -1)
        return self._state.task_delay_counts.reshape(shape).copy()

    def _in_parts(self, work: Callable[[int, int], None], num: int) -> None:
        """Do a range of work in parts that don't touch each other, split over the threads."""
        if self._num_threads == 1:
            work(0, num)
            return
        edges = np.linspace(0, num, min(num, _PARTS_PER_THREAD * self._num_threads) + 1).astype(int)
        with ThreadPoolExecutor(self._num_threads) as pool:
            for part in [pool.submit(work, int(first), int(last)) for first, last in itertools.pairwise(edges)]:
                part.result()

    def _run_cells(self, begin_s: float, num_steps: int, first: int, last: int) -> None:
        run_cells(self._state, self._table, first, last, begin_s, num_steps, self._scenario.step_s)

    def _move_devices(self, first: int, last: int) -> None:
        move_devices(self._state, self._tiles, self._bounds, first, last, self._scenario.period_s)

    def _set_backhaul(self, time_s: float) -> None:
        """Bring delays and shared links' parts to the period that begins now."""
        cells, gaps = self._state.cells, self._scenario.backhaul_gaps
        cells["backhaul_s"][:] = self._backhaul_s
        if gaps is not None:
            cells["backhaul_s"] += gaps.delays_s(len(cells), time_s)
        if self._backhaul is not None:
            cells["backhaul_bps"][:] = self._backhaul.shares_bps(self._wanted_bps)

    def _note_wanted(self) -> None:
        """What each cell would have sent over its backhaul in the period, in the busier direction."""
        if self._backhaul is None:
            return
        offered = self._state.rows["offered_bits"].reshape(-1, self._num_slices).sum(axis=1)
        self._wanted_bps = np.maximum(offered, self._state.cells["backhaul_up_bits"]) / self._scenario.period_s

    def _set_demand(self, time_s: float) -> None:
        rows = self._state.rows
        if self._load is None:
            rows["demand_factor"][:] = 1.0
            return
        counts = num_attached(self._state)
        rows["demand_factor"][:] = demand_factor(self._load.prb_share_at(time_s), self._usual, counts).ravel()
        rows["task_factor"][:] = self._load.task_factor_at(time_s).ravel()

    def _admit(self) -> None:
        """Refuse the newest devices beyond each admission cap."""
        devices, rows = self._state.devices, self._state.rows
        devices["is_admitted"][:] = True
        for row in np.flatnonzero(rows["admission_cap"] >= 0):
            cell, s = divmod(int(row), self._num_slices)
            inside = np.flatnonzero((devices["cell"] == cell) & (devices["slice"] == s))
            by_age = inside[np.argsort(devices["attached_s"][inside], kind="stable")]
            devices["is_admitted"][by_age[rows["admission_cap"][row] :]] = False

    def _report(self, num_steps: int) -> TelemetryFrame:
        state, period_s = self._state, self._scenario.period_s
        heard = self._lora.send(state, self.time_s - period_s, self.time_s)
        rows = device_columns(
            state, self._table, self._in_parts, time_s=self.time_s, num_steps=num_steps, period_s=period_s
        )
        return TelemetryFrame(
            time_s=self.time_s,
            period_s=period_s,
            devices=exaggerate(rows, self._faults, self.time_s),
            slices=slice_columns(state, period_s=period_s),
            cells=cell_columns(state, self._policy_version, period_s=period_s),
            sensors=self._sensors.read(
                *self._lora.with_heard(state, rows.device_id, rows.cell, heard), self._faults, self.time_s
            ),
            stream_names=self._sensors.names,
        )

    def _charge_reports(self, frame: TelemetryFrame) -> None:
        """Signalling of this period's reports takes PRBs in the next."""
        counts = np.bincount(frame.devices.cell, minlength=len(self.topology.cells))
        most = 0.5 * self._state.cells["num_prb"]
        self._state.cells["lost_prb"][:] = np.minimum(most, counts * REPORT_PRB_MS / (1000.0 * self._scenario.period_s))

"""Frames and log lines of an interval in, one EdgeDigest per cell out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess import windows
from edge_preprocess.assembly import Assembler, Interval
from edge_preprocess.clock_check import ClockCheck
from edge_preprocess.device_memory import DeviceMemory
from edge_preprocess.digest import DataQuality, EdgeDigest
from edge_preprocess.estimates import Estimator
from edge_preprocess.forecast import NUM_CLOSING_GUESSES, Forecaster, closing_guesses
from edge_preprocess.intake import take_in
from edge_preprocess.log_tally import LogDigester
from edge_preprocess.log_templates import LogTemplateMiner
from edge_preprocess.sensor_watch import SensorWatch
from edge_preprocess.sla_forecast import SlaForecaster
from edge_preprocess.watch import Sighting, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from edge_preprocess.digest import Anomaly
    from edge_preprocess.estimates import CellEstimates, SliceEstimates
    from edge_preprocess.intake import Intake, PerRow, Rows
    from edge_preprocess.log_tally import LogTally
    from edge_preprocess.windows import PerCell
    from telemetry_sim.records import LogRecord, SliceColumns, TelemetryFrame
    from telemetry_sim.topology import Topology


_PARTS = ("estimator", "devices", "demand", "tasks", "watch", "sensors")
_INFRASTRUCTURE = frozenset({"gnb", "gateway"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellLogs:
    """One cell's lines of an interval, by who wrote them."""

    infrastructure: LogTally
    devices: LogTally
    num_unknown_cell: int = 0
    """Lines that name no cell of the topology."""

    @property
    def num_received(self) -> int:
        return self.infrastructure.num_received + self.devices.num_received + self.num_unknown_cell

    def events(self) -> Counter[str]:
        """Named counters of both."""
        counters: Counter[str] = Counter()
        for tally in (self.infrastructure, self.devices):
            counters.update({str(name): count for name, count in tally.counters.items()})
        return counters

    def quarantined(self) -> Counter[str]:
        """Lines that could not be read or placed, by reason."""
        reasons: Counter[str] = Counter()
        if self.num_unknown_cell:
            reasons["log_unknown_cell"] = self.num_unknown_cell
        for tally in (self.infrastructure, self.devices):
            reasons.update({f"log_{reason}": count for reason, count in tally.num_quarantined.items()})
        return reasons


class EdgePipeline:
    """One per network or per cell; keeps a state per cell, so equal inputs in equal order give equal digests.

    With `with_sla_risk` the digests say how likely each slice misses its target next; without it their bytes are those
    of an edge that knows nothing of it.
    """

    def __init__(self, topology: Topology, *, interval_s: float = 10.0, with_sla_risk: bool = False) -> None:
        self._topology = topology
        self._interval_s = interval_s
        num_groups = len(topology.cells) * len(topology.slices)
        self._estimator = Estimator(topology)
        self._assembler = Assembler(topology)
        self._devices = DeviceMemory()
        self._num_groups = num_groups
        self._demand = Forecaster(num_groups, num_guesses=NUM_CLOSING_GUESSES)
        self._tasks = Forecaster(num_groups, num_guesses=NUM_CLOSING_GUESSES)
        self._watch = Watch(topology)
        self._sensors = SensorWatch(len(topology.cells))
        self._sla = SlaForecaster(topology) if with_sla_risk else None
        # A device's lines are kept apart: they are counted, but they raise no alarm about the network.
        self._infrastructure_logs = tuple(LogDigester() for _ in topology.cells)
        self._device_logs = tuple(LogDigester() for _ in topology.cells)
        self._end_s = float("-inf")
        """What the latest digests call their end. It goes on without frames, so no frame is judged by it."""
        self._clock = ClockCheck()
        self._num_unreadable = 0
        self.quarantine_reasons: Counter[str] = Counter()
        """Rows and log lines refused so far, by reason."""

    def digest(
        self,
        frames: Sequence[TelemetryFrame],
        logs: Sequence[LogRecord],
        *,
        unreadable: Mapping[str, int] | None = None,
    ) -> tuple[EdgeDigest, ...]:
        """What each cell's edge node says about the interval that the frames cover, in the topology's order.

        The quality counts device rows, sensor readings and log lines together.
        An interval without frames repeats the last figures. `unreadable` counts input that was neither frame nor line,
        by reason; it is received and quarantined at the first cell.
        """
        intake = take_in(frames, self._topology, clock=self._clock)
        cell_logs = self._read_logs(logs)
        self.quarantine_reasons.update(intake.reasons)
        self.quarantine_reasons.update(unreadable or {})
        self._num_unreadable = sum((unreadable or {}).values())
        start_s, end_s = self._bounds(intake)
        interval = self._measure(intake, cell_logs, start_s, end_s)
        self._end_s = end_s
        return self._assembler.digests(interval)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart; it holds log text and stays at the edge."""
        found: dict[str, NDArray[np.generic]] = {"end_s": np.array(self._end_s), "clock": np.array(self._clock.state())}
        for name in self._parts():
            found.update({f"{name}.{part}": values for part, values in getattr(self, f"_{name}").state().items()})
        miners = [digester.miner.to_state() for digester in (*self._infrastructure_logs, *self._device_logs)]
        found["logs"] = np.frombuffer(json.dumps(miners).encode(), dtype=np.uint8)
        found["reasons"] = np.frombuffer(json.dumps(self.quarantine_reasons).encode(), dtype=np.uint8)
        return found

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`, which must come from a pipeline of the same topology."""
        self._end_s = float(state["end_s"])
        self._clock.restore(state["clock"].astype(np.float64).tolist())
        for name in self._parts():
            prefix = f"{name}."
            part = {key.removeprefix(prefix): values for key, values in state.items() if key.startswith(prefix)}
            getattr(self, f"_{name}").restore(part)
        miners = [LogTemplateMiner.from_state(saved) for saved in json.loads(state["logs"].tobytes())]
        num_cells = len(self._topology.cells)
        self._infrastructure_logs = tuple(LogDigester(miner) for miner in miners[:num_cells])
        self._device_logs = tuple(LogDigester(miner) for miner in miners[num_cells:])
        self.quarantine_reasons = Counter(json.loads(state["reasons"].tobytes()))

    def _parts(self) -> tuple[str, ...]:
        return _PARTS if self._sla is None else (*_PARTS, "sla")

    def _bounds(self, intake: Intake) -> tuple[float, float]:
        if intake.frames:
            first = intake.frames[0]
            return max(first.time_s - first.period_s, 0.0), intake.frames[-1].time_s
        start_s = max(self._end_s, 0.0)
        return start_s, start_s + self._interval_s

    def _read_logs(self, logs: Sequence[LogRecord]) -> tuple[_CellLogs, ...]:
        """Counts per cell; lines of an unknown cell are quarantined at the first, whatever they say."""
        num_unknown = 0
        for record in logs:
            if not 0 <= record.cell < len(self._device_logs):
                num_unknown += 1
                continue
            digesters = self._infrastructure_logs if record.source in _INFRASTRUCTURE else self._device_logs
            digesters[record.cell].observe(record.text)
        found = []
        for cell, (infrastructure, devices) in enumerate(
            zip(self._infrastructure_logs, self._device_logs, strict=True)
        ):
            both = _CellLogs(
                infrastructure=infrastructure.close_interval(),
                devices=devices.close_interval(),
                num_unknown_cell=0 if cell else num_unknown,
            )
            self.quarantine_reasons.update(both.quarantined())
            found.append(both)
        return tuple(found)

    def _measure(self, intake: Intake, logs: Sequence[_CellLogs], start_s: float, end_s: float) -> Interval:
        rows = self._devices.with_held_backlogs(intake.rows)
        duration_s = sum(frame.period_s for frame in intake.frames) or self._interval_s
        offered_bits = self._devices.offered_bits(rows)
        statistics = windows.row_statistics(
            rows,
            offered_bits,
            covered_s=rows.period_s,
            budgets_ms=self._estimator.budgets_ms,
            prb_khz=self._estimator.prb_khz,
            needs_delays=not any(frame.slices is not None for frame in intake.frames),
        )
        self._devices.remember(rows, end_s)
        slices = self._estimator.slices(statistics, intake.frames, duration_s)
        if intake.frames:
            self._learn(slices, intake.frames, rows, offered_bits)
        cells = self._estimator.cells(intake.frames, slices, duration_s)
        anomalies = self._look(intake, logs, slices, cells, start_s, end_s)
        forecast_kbps = self._demand.next_value()
        if self._sla is not None and intake.frames:
            self._sla.learn(slices, cells, forecast_kbps)
        return Interval(
            start_s=start_s,
            end_s=end_s,
            slices=slices,
            cells=cells,
            forecast_kbps=forecast_kbps,
            deviation_kbps=self._demand.deviation(),
            forecast_tasks=self._tasks.next_value(),
            quality=self._quality(intake, logs, end_s),
            events=[entry.events() for entry in logs],
            anomalies=anomalies,
            sla_risk=None if self._sla is None else self._sla.risk(),
        )

    def _look(
        self,
        intake: Intake,
        logs: Sequence[_CellLogs],
        slices: SliceEstimates,
        cells: CellEstimates,
        start_s: float,
        end_s: float,
    ) -> tuple[tuple[Anomaly, ...], ...]:
        """What stands out; without frames there is nothing to look at but the logs."""
        sensors = self._sensors.look(intake.frames)
        self.quarantine_reasons.update(+self._sensors.reasons)
        if not intake.frames:
            return tuple(() for _ in logs)
        shape = (len(self._topology.cells), -1)

        def cycles(read: Callable[[SliceColumns], NDArray[np.float64]]) -> PerCell:
            counted = windows.slice_counter(intake.frames, read, num_groups=self._num_groups)
            return np.asarray(windows.sum_over_time(counted).reshape(shape).sum(axis=1))

        return self._watch.look(
            Sighting(
                start_s=start_s,
                end_s=end_s,
                slices=slices,
                cells=cells,
                edge_cycles_offered=cycles(lambda s: s.edge_cycles_offered),
                edge_cycles_used=cycles(lambda s: s.edge_cycles_used),
                sensors=sensors,
                infrastructure_events=[entry.infrastructure.counters for entry in logs],
                device_events=[entry.devices.counters for entry in logs],
            )
        )

    def _learn(
        self, slices: SliceEstimates, frames: Sequence[TelemetryFrame], rows: Rows, offered_bits: PerRow
    ) -> None:
        """What the forecasts take from the interval: its means and how it ended."""
        by_frame = windows.offered_by_frame(frames, rows, offered_bits, num_groups=self._num_groups)
        self._demand.learn(slices.demand_kbps, closing_guesses(by_frame / 1000.0))
        tasks = windows.slice_counter(frames, lambda s: s.tasks_offered, num_groups=self._num_groups)
        period_s = np.array([frame.period_s for frame in frames if frame.slices is not None])[:, None]
        self._tasks.learn(slices.tasks_per_s, closing_guesses(tasks / period_s))

    def _quality(self, intake: Intake, logs: Sequence[_CellLogs], end_s: float) -> tuple[DataQuality, ...]:
        oldest_s = end_s - self._interval_s + 1e-6
        stale = intake.rows.group[intake.rows.time_s <= oldest_s] // len(self._topology.slices)
        num_stale = np.bincount(stale, minlength=len(self._topology.cells))
        found = []
        for cell, entry in enumerate(logs):
            received = int(intake.received[cell] + self._sensors.num_received[cell]) + entry.num_received
            refused = int(intake.quarantined[cell] + self._sensors.num_quarantined[cell])
            quarantined = refused + entry.quarantined().total()
            if cell == 0:
                received += self._num_unreadable
                quarantined += self._num_unreadable
            found.append(
                DataQuality(
                    rows_received=received,
                    rows_accepted=received - quarantined,
                    rows_quarantined=quarantined,
                    rows_stale=int(num_stale[cell]),
                )
            )
        return tuple(found)

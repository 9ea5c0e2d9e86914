"""Reads the project's own Parquet recordings, a row group at a time."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import TelemetryFrame
from telemetry_sim.topology import Topology
from telemetry_sim.traces.frame_building import COLUMNS, device_columns, runs_of
from telemetry_sim.traces.parquet_columns import decode_columns
from telemetry_sim.traces.parquet_extras import Extras, unpack_extras
from telemetry_sim.traces.parquet_recorder import FORMAT, FORMAT_VERSION, FRAME_ROW
from telemetry_sim.traces.trace import TraceSummary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from telemetry_sim.records import Alarm, LogRecord
    from telemetry_sim.traces.trace import PeerDecision

_MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether the file starts as Parquet does."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def read_parquet(path: Path) -> ParquetTrace:
    """A recording; raises TraceUnreadable for a file that is cut off or that this project did not write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        header: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(b"edgewright", b"{}"))
    except (pa.ArrowInvalid, OSError, json.JSONDecodeError) as error:
        raise TraceUnreadable(f"{path}: damaged or cut off: {error}") from error
    if header.get("format") != FORMAT or header.get("version") != FORMAT_VERSION:
        found = header.get("format"), header.get("version")
        raise TraceUnreadable(f"{path}: format and version are {found}; expected {(FORMAT, FORMAT_VERSION)}")
    try:
        return ParquetTrace(path, header)
    except (KeyError, TypeError, ValueError) as error:
        raise TraceUnreadable(f"{path}: its header is invalid: {error}") from error


class ParquetTrace:
    """A recording on disk; only one row group is in memory at a time."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self._path, self._is_exact = path, bool(header["is_exact"])
        self.topology = Topology.model_validate(header["topology"])
        start_unix_s = header["start_unix_s"]
        self.summary = self._summarise(math.nan if start_unix_s is None else float(start_unix_s), dict(header["notes"]))

    @property
    def decisions(self) -> tuple[PeerDecision, ...]:
        """In time order; empty where the recording holds none."""
        return tuple(decision for extras in self._extras() for decision in extras.decisions)

    def frames(self) -> Iterator[TelemetryFrame]:
        """In time order, from the start at every call."""
        for group in self._groups():
            yield from _frames(group, self._is_exact)

    def logs(self) -> Iterator[LogRecord]:
        """In time order, from the start at every call."""
        for extras in self._extras():
            yield from extras.logs

    def alarms(self) -> Iterator[Alarm]:
        """In time order, from the start at every call."""
        for extras in self._extras():
            yield from extras.alarms

    def _groups(self, columns: list[str] | None = None) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self._path, page_checksum_verification=True)
            for index in range(file.num_row_groups):
                yield file.read_row_group(index, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise TraceUnreadable(f"{self._path}: damaged: {error}") from error

    def _extras(self) -> Iterator[Extras]:
        for group in self._groups(["device", "extras"]):
            num_frames = int((group.column("device").to_numpy() == FRAME_ROW).sum())
            for packed in group.column("extras").slice(0, num_frames).to_pylist():
                yield unpack_extras(packed)

    def _summarise(self, start_unix_s: float, notes: dict[str, int | str]) -> TraceSummary:
        times: list[float] = []
        periods: list[float] = []
        devices: set[int] = set()
        num_rows = 0
        for group in self._groups(["device", "time_s", "period_s"]):
            device = group.column("device").to_numpy()
            num_frames = int((device == FRAME_ROW).sum())
            times.extend(group.column("time_s").slice(0, num_frames).to_pylist())
            periods.extend(group.column("period_s").slice(0, num_frames).to_pylist())
            devices.update(np.unique(device[num_frames:]).tolist())
            num_rows += len(device) - num_frames
        if not times:
            raise TraceUnreadable(f"{self._path}: holds no frame")
        return TraceSummary(
            format="parquet",
            rows_read=num_rows,
            rows_accepted=num_rows,
            quarantined={},
            num_devices=len(devices),
            num_frames=len(times),
            period_s=periods[0],
            start_unix_s=start_unix_s,
            runs_s=runs_of(times),
            notes=notes,
        )


def _frames(group: Any, is_exact: bool) -> Iterator[TelemetryFrame]:
    device = group.column("device").to_numpy()
    num_frames = int((device == FRAME_ROW).sum())
    stored = {name: group.column(name).to_numpy()[num_frames:] for name in COLUMNS}
    values: dict[str, NDArray[np.float64]] = stored if is_exact else decode_columns(stored)
    frame_of_row = group.column("frame").to_numpy()[num_frames:]
    # Rows are in device order; a stable sort by frame keeps that order inside each frame.
    order = np.argsort(frame_of_row, kind="stable")
    ends = np.cumsum(np.bincount(frame_of_row, minlength=num_frames))
    cell, slices = (group.column(name).to_numpy()[num_frames:] for name in ("cell", "slice"))
    times, periods, packed = (
        group.column(name).slice(0, num_frames).to_pylist() for name in ("time_s", "period_s", "extras")
    )
    for index in range(num_frames):
        rows = order[(ends[index - 1] if index else 0) : ends[index]]
        extras = unpack_extras(packed[index])
        yield TelemetryFrame(
            time_s=times[index],
            period_s=periods[index],
            devices=device_columns(
                device[num_frames:][rows],
                cell[rows],
                slices[rows],
                {name: column[rows] for name, column in values.items()},
            ),
            slices=extras.slices,
            cells=extras.cells,
            sensors=extras.sensors,
            stream_names=extras.stream_names,
        )

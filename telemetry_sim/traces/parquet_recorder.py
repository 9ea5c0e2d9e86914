"""Writes telemetry to Parquet: a row per device and frame, and a row per frame for everything else.

A recording grows in finished segments beside its final file (`NAME.partial/`), so that a broken run can be continued;
`close` turns them into one file. Inside a row group the rows of a device follow each other in time, since a device
resembles itself more than its neighbours.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import MEASUREMENTS
from telemetry_sim.traces.frame_building import COLUMNS
from telemetry_sim.traces.parquet_columns import COMPACT, encode_columns
from telemetry_sim.traces.parquet_extras import READING_PRECISION, pack_extras

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from telemetry_sim.records import Alarm, LogRecord, TelemetryFrame
    from telemetry_sim.topology import Topology
    from telemetry_sim.traces.trace import PeerDecision

FORMAT = "edgewright-telemetry"
FORMAT_VERSION = 1
FRAME_ROW = -1
"""`device` of the row that carries a frame's time and extras."""

_COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSize:
    """What a finished recording takes."""

    num_frames: int
    num_rows: int
    """Rows of devices."""
    num_bytes: int

    @property
    def bytes_per_row(self) -> float:
        return self.num_bytes / max(1, self.num_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PendingFrame:
    """A frame that waits for its row group to fill."""

    time_s: float
    period_s: float
    device_id: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    """As they are stored."""
    extras: bytes


class ParquetRecorder:
    """Records frames to a file; use it as a context manager, or call `close`."""

    def __init__(
        self,
        path: Path,
        topology: Topology,
        *,
        is_exact: bool = False,
        resume: bool = False,
        rows_per_group: int = 1_000_000,
        groups_per_segment: int = 8,
        start_unix_s: float | None = None,
        notes: Mapping[str, int | str] | None = None,
    ) -> None:
        self.last_time_s = -np.inf
        """Frames up to here are on disk and are ignored when offered again."""
        self._path = path
        self._folder = path.with_name(path.name + ".partial")
        self._is_exact = is_exact
        self._rows_per_group, self._groups_per_segment = rows_per_group, groups_per_segment
        about = {"start_unix_s": start_unix_s, "notes": dict(notes or {})}
        self._metadata = _metadata(topology, about, is_exact=is_exact)
        self._pending: list[_PendingFrame] = []
        self._pending_rows = self._num_frames = self._num_rows = self._num_groups = 0
        self._writer: Any = None
        self._size: RecordingSize | None = None
        self._segments: list[Path] = []
        try:
            self._prepare(resume=resume)
        except OSError as error:
            raise TraceUnreadable(f"{path}: can't be written: {error}; a writable folder needed") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._end_segment()

    def write(
        self,
        frame: TelemetryFrame,
        logs: Sequence[LogRecord] = (),
        alarms: Sequence[Alarm] = (),
        decisions: Sequence[PeerDecision] = (),
    ) -> None:
        """Record a frame with the log lines, alarms and peer's decisions of its period."""
        if frame.time_s <= self.last_time_s:
            return
        extras = pack_extras(frame, logs, alarms, decisions, is_exact=self._is_exact)
        self._pending.append(_pend(frame, extras, is_exact=self._is_exact))
        self._pending_rows += len(frame.devices.device_id)
        if self._pending_rows >= self._rows_per_group:
            self._flush()
            if self._num_groups % self._groups_per_segment == 0:
                self._end_segment()

    def close(self) -> RecordingSize:
        """Finish the file; the segments are gone afterwards. Closing again changes nothing."""
        if self._size is None:
            self._size = self._finish()
        return self._size

    def _prepare(self, *, resume: bool) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        if resume:
            self._take_up()
        elif self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(exist_ok=True)

    def _finish(self) -> RecordingSize:
        self._end_segment()
        if not self._segments:
            self._flush(even_if_empty=True)
            self._end_segment()
        if len(self._segments) == 1:
            self._segments[0].replace(self._path)
        else:
            self._merge()
        shutil.rmtree(self._folder)
        size = self._path.stat().st_size
        return RecordingSize(num_frames=self._num_frames, num_rows=self._num_rows, num_bytes=size)

    def _take_up(self) -> None:
        """Go on after the finished segments, or after the finished file, of an earlier run."""
        finished = [self._path] if self._path.exists() else []
        # Nothing is made or moved before every part is known to be whole and to fit.
        for part in [*finished, *self._folder.glob("*.parquet")]:
            self._count(part)
        self._folder.mkdir(exist_ok=True)
        if finished:
            self._path.replace(self._folder / _segment_name(0))
        self._segments = sorted(self._folder.glob("*.parquet"))
        for unfinished in self._folder.glob("*.writing"):
            unfinished.unlink()

    def _count(self, part: Path) -> None:
        """Add what a part holds; raises TraceUnreadable where it is damaged or another run's."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            own = json.loads((pq.read_schema(part).metadata or {}).get(b"edgewright", b"{}"))
            differing = _differing(own, json.loads(self._metadata[b"edgewright"]))
            if differing:
                raise TraceUnreadable(f"{part}: was recorded with another {', '.join(differing)}; start a new file")
            table = pq.read_table(part, columns=["device", "time_s"], page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            raise TraceUnreadable(f"{part}: damaged or cut off: {reason}; nothing can go on from it") from error
        frame_rows = table.column("device").to_numpy() == FRAME_ROW
        self._num_frames += int(frame_rows.sum())
        self._num_rows += int((~frame_rows).sum())
        self.last_time_s = max(self.last_time_s, *table.column("time_s").to_numpy()[frame_rows], -np.inf)

    def _flush(self, *, even_if_empty: bool = False) -> None:
        if not self._pending and not even_if_empty:
            return
        import pyarrow.parquet as pq

        table = _table(self._pending) if self._pending else _empty_table(is_exact=self._is_exact)
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._folder / (_segment_name(len(self._segments)) + ".writing"),
                table.schema.with_metadata(self._metadata),
                compression="zstd",
                compression_level=_COMPRESSION_LEVEL,
                write_statistics=False,
                write_page_checksum=True,
                use_dictionary=[name for name in table.column_names if name not in {"device", "extras"}],
            )
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._num_groups += 1
        self._num_frames += len(self._pending)
        self._num_rows += self._pending_rows
        if self._pending:
            self.last_time_s = self._pending[-1].time_s
        self._pending, self._pending_rows = [], 0

    def _end_segment(self) -> None:
        self._flush()
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        finished = self._folder / _segment_name(len(self._segments))
        finished.with_name(finished.name + ".writing").replace(finished)
        self._segments.append(finished)

    def _merge(self) -> None:
        import pyarrow.parquet as pq

        unfinished = self._folder / "merged.writing"
        schema = pq.read_schema(self._segments[0])
        names = [name for name in schema.names if name not in {"device", "extras"}]
        with pq.ParquetWriter(
            unfinished,
            schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            write_statistics=False,
            write_page_checksum=True,
            use_dictionary=names,
        ) as writer:
            for segment in self._segments:
                source = pq.ParquetFile(segment)
                for index in range(source.num_row_groups):
                    group = source.read_row_group(index)
                    writer.write_table(group, row_group_size=max(1, group.num_rows))
        unfinished.replace(self._path)


def _segment_name(index: int) -> str:
    return f"segment-{index:06d}.parquet"


def _differing(own: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What a recording's header says otherwise than is wanted; a note that it lacks says nothing."""
    notes = wanted["notes"]
    return [
        *(name for name in wanted if name != "notes" and own.get(name) != wanted[name]),
        *(
            f"{name} ({value!r}, not {notes.get(name)!r})"
            for name, value in own.get("notes", {}).items()
            if value != notes.get(name)
        ),
    ]


def _metadata(topology: Topology, about: Mapping[str, object], *, is_exact: bool) -> dict[bytes, bytes]:
    precision = {name: scale.describe() for name, scale in COMPACT.items()} | {"sensors": READING_PRECISION}
    header = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "is_exact": is_exact,
        "precision": {} if is_exact else precision,
        "measurements": dict(MEASUREMENTS),
        "topology": topology.model_dump(mode="json"),
        **about,
    }
    return {b"edgewright": json.dumps(header, sort_keys=True).encode()}


def _pend(frame: TelemetryFrame, extras: bytes, *, is_exact: bool) -> _PendingFrame:
    """Encode a frame's rows at once, while they are in the cache."""
    values = {name: np.asarray(getattr(frame.devices, name), dtype=np.float64) for name in COLUMNS}
    stored: Mapping[str, NDArray[Any]] = values if is_exact else encode_columns(values)
    places = {name: np.asarray(getattr(frame.devices, name), dtype=np.int16) for name in ("cell", "slice")}
    return _PendingFrame(
        time_s=frame.time_s,
        period_s=frame.period_s,
        device_id=np.asarray(frame.devices.device_id, dtype=np.int64),
        columns={**places, **stored},
        extras=extras,
    )


def _empty_table(*, is_exact: bool) -> Any:
    """The columns of a recording without frames."""
    nothing = np.empty(0)
    columns = dict.fromkeys(COLUMNS, nothing)
    stored: Mapping[str, NDArray[Any]] = columns if is_exact else encode_columns(columns)
    places = {name: np.empty(0, np.int16) for name in ("cell", "slice")}
    ids = np.empty(0, np.int64)
    frame = _PendingFrame(time_s=0.0, period_s=0.0, device_id=ids, columns={**places, **stored}, extras=b"")
    return _table([frame]).slice(0, 0)


def _table(pending: Sequence[_PendingFrame]) -> Any:
    """One row group: first a row per frame, then the device rows, device by device."""
    import pyarrow as pa

    num_frames = len(pending)
    counts = [len(frame.device_id) for frame in pending]
    num_rows = sum(counts)
    arrange = _by_device([frame.device_id for frame in pending])
    frame_of_row = [np.full(count, index, dtype=np.int32) for index, count in enumerate(counts)]
    columns: dict[str, Any] = {
        "frame": np.concatenate((np.arange(num_frames, dtype=np.int32), arrange(frame_of_row))),
        "device": np.concatenate(
            (np.full(num_frames, FRAME_ROW, dtype=np.int64), arrange([frame.device_id for frame in pending]))
        ),
        "time_s": pa.array(
            np.concatenate(([frame.time_s for frame in pending], np.zeros(num_rows))),
            mask=np.arange(num_frames + num_rows) >= num_frames,
        ),
        "period_s": pa.array(
            np.concatenate(([frame.period_s for frame in pending], np.zeros(num_rows))),
            mask=np.arange(num_frames + num_rows) >= num_frames,
        ),
        "extras": pa.array([*(frame.extras for frame in pending), *([None] * num_rows)], type=pa.binary()),
    }
    for name in pending[0].columns:
        parts = [frame.columns[name] for frame in pending]
        columns[name] = np.concatenate((np.zeros(num_frames, dtype=parts[0].dtype), arrange(parts)))
    return pa.table(columns)


def _by_device(ids: Sequence[NDArray[np.int64]]) -> Callable[[Sequence[NDArray[Any]]], NDArray[Any]]:
    """How a column's parts, one per frame, become one column with each device's rows in a stretch."""
    if all(np.array_equal(own, ids[0]) for own in ids[1:]) and np.all(np.diff(ids[0]) > 0):
        # Everybody is in every frame: a transposition, much quicker than an order looked up row by row.
        return lambda parts: np.stack(parts, axis=1).reshape(-1)
    order = np.argsort(np.concatenate(ids), kind="stable")
    return lambda parts: np.concatenate(parts)[order]

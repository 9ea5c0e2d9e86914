"""One cell's telemetry as a message: the frames' columns as named arrays, the log lines as JSON."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import (
    CellColumns,
    DeviceColumns,
    LogRecord,
    SliceColumns,
    Telemetry,
    TelemetryFrame,
)

_MAX_BYTES = 50_000_000
_MAX_UNPACKED_BYTES = 10 * _MAX_BYTES
_MAX_FRAMES = 1000
_INTEGERS = {
    "device_id": np.int64,
    "cell": np.int16,
    "slice": np.int16,
    "delay_counts": np.int64,
    "policy_version": np.int32,
}


def encode_telemetry(telemetry: Telemetry, cell_index: int) -> bytes:
    """The rows of one cell's devices, and the cell-level counters."""
    arrays: dict[str, Any] = {
        "times_s": np.array([[frame.time_s, frame.period_s] for frame in telemetry.frames]).reshape(-1, 2),
        "logs": np.frombuffer(_logs_as_json(telemetry.logs, cell_index), np.uint8),
    }
    for number, frame in enumerate(telemetry.frames):
        rows = frame.devices.cell == cell_index
        for name in _names(DeviceColumns):
            arrays[f"{number}.devices.{name}"] = getattr(frame.devices, name)[rows]
        for part, columns in (("slices", frame.slices), ("cells", frame.cells)):
            if columns is not None:
                for name in _names(type(columns)):
                    arrays[f"{number}.{part}.{name}"] = getattr(columns, name)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def decode_telemetry(payload: bytes) -> Telemetry:
    """What was encoded; raises TraceUnreadable for anything else."""
    if len(payload) > _MAX_BYTES:
        raise TraceUnreadable(f"telemetry message: {len(payload)} bytes, at most {_MAX_BYTES}")
    try:
        return _assembled(_arrays(payload))
    except Exception as error:
        # Readers of zip, inflate, arrays and JSON raise many kinds at foreign bytes.
        raise TraceUnreadable(f"telemetry message: {str(error)[:200]}") from error


def _arrays(payload: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        num_bytes = sum(member.file_size for member in archive.infolist())
    if num_bytes > _MAX_UNPACKED_BYTES:
        raise ValueError(f"{num_bytes} bytes unpacked, at most {_MAX_UNPACKED_BYTES}")
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _assembled(arrays: dict[str, Any]) -> Telemetry:
    times_s = np.asarray(arrays["times_s"], float)
    if times_s.ndim != 2 or times_s.shape[1] != 2 or len(times_s) > _MAX_FRAMES:
        raise ValueError(f"times_s has shape {times_s.shape}")
    frames = tuple(
        TelemetryFrame(
            time_s=float(time_s),
            period_s=float(period_s),
            devices=_columns(DeviceColumns, arrays, f"{number}.devices."),
            slices=_columns(SliceColumns, arrays, f"{number}.slices.")
            if f"{number}.slices.prb_used" in arrays
            else None,
            cells=_columns(CellColumns, arrays, f"{number}.cells.") if f"{number}.cells.prb_used" in arrays else None,
        )
        for number, (time_s, period_s) in enumerate(times_s)
    )
    logs = tuple(_log(row) for row in json.loads(bytes(arrays["logs"])))
    return Telemetry(frames=frames, logs=logs)


def _columns(kind: type[Any], arrays: dict[str, Any], prefix: str) -> Any:
    columns = {
        name: arrays[prefix + name].astype(_INTEGERS.get(name, np.float64), casting="safe", copy=False)
        for name in _names(kind)
    }
    shapes = {column.shape for column in columns.values()}
    if kind is DeviceColumns and (len(shapes) > 1 or len(min(shapes)) != 1):
        raise ValueError(f"{prefix}*: columns of shapes {sorted(shapes)}, rows of one length are needed")
    return kind(**columns)


def _log(row: dict[str, Any]) -> LogRecord:
    return LogRecord(
        time_s=float(row["time_s"]), cell=int(row["cell"]), source=str(row["source"]), text=str(row["text"])
    )


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _logs_as_json(logs: Sequence[LogRecord], cell_index: int) -> bytes:
    rows = [
        {"time_s": record.time_s, "cell": record.cell, "source": record.source, "text": record.text}
        for record in logs
        if record.cell == cell_index
    ]
    return json.dumps(rows).encode()

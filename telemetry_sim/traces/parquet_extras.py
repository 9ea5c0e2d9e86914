"""What a frame holds beside its device rows, as compressed bytes: counters, readings, logs and alarms."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import Alarm, CellColumns, LogRecord, SensorColumns, Severity, SliceColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from telemetry_sim.records import TelemetryFrame

_LENGTH = struct.Struct("<I")
# Counters are mostly zeros; a higher level costs time and gains next to nothing.
_COMPRESSION_LEVEL = 1
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The frame's parts other than its device rows."""

    slices: SliceColumns | None
    cells: CellColumns | None
    sensors: SensorColumns | None
    stream_names: tuple[str, ...]
    logs: tuple[LogRecord, ...]
    alarms: tuple[Alarm, ...]


def pack_extras(frame: TelemetryFrame, logs: Sequence[LogRecord], alarms: Sequence[Alarm]) -> bytes:
    """Bytes from which `unpack_extras` restores everything exactly."""
    arrays = [
        (f"{part}.{field.name}", np.ascontiguousarray(getattr(columns, field.name)))
        for part, columns in (("slices", frame.slices), ("cells", frame.cells), ("sensors", frame.sensors))
        if columns is not None
        for field in fields(columns)
    ]
    header = {
        "arrays": [[name, array.dtype.str, array.shape] for name, array in arrays],
        "streams": frame.stream_names,
        "logs": [[log.time_s, log.cell, log.source, log.text] for log in logs],
        "alarms": [[a.time_s, a.cell, a.severity.value, a.kind, a.is_cleared] for a in alarms],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    parts = [_LENGTH.pack(len(text)), text, *(array.tobytes() for _, array in arrays)]
    return zlib.compress(b"".join(parts), _COMPRESSION_LEVEL)


def unpack_extras(packed: bytes) -> Extras:
    """The parts of a frame; raises TraceUnreadable for bytes that `pack_extras` did not write."""
    try:
        return _unpacked(zlib.decompressobj().decompress(packed, _MAX_BYTES))
    except (zlib.error, struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise TraceUnreadable(f"a frame's counters are damaged: {error}") from error


def _unpacked(raw: bytes) -> Extras:
    (length,) = _LENGTH.unpack_from(raw)
    start = _LENGTH.size + length
    header: dict[str, Any] = json.loads(raw[_LENGTH.size : start])
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in header["arrays"]:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        arrays[name] = np.frombuffer(raw[start : start + size], dtype=dtype).reshape(shape).copy()
        start += size

    def columns(part: str, kind: type[Any]) -> Any:
        own = {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
        return kind(**own) if own else None

    return Extras(
        slices=columns("slices", SliceColumns),
        cells=columns("cells", CellColumns),
        sensors=columns("sensors", SensorColumns),
        stream_names=tuple(header["streams"]),
        logs=tuple(LogRecord(time_s=t, cell=c, source=s, text=x) for t, c, s, x in header["logs"]),
        alarms=tuple(
            Alarm(time_s=t, cell=c, severity=Severity(s), kind=k, is_cleared=x) for t, c, s, k, x in header["alarms"]
        ),
    )

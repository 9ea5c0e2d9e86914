"""What a frame holds beside its device rows, as compressed bytes: counters, readings, logs and alarms."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.records import Alarm, CellColumns, LogRecord, SensorColumns, Severity, SliceColumns
from telemetry_sim.traces.trace import PeerDecision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from telemetry_sim.records import TelemetryFrame

_LENGTH = struct.Struct("<I")
# Only framed: the file compresses its columns itself, and better for being given them plain.
_COMPRESSION_LEVEL = 0
_MAX_BYTES = 1 << 30

READING_PRECISION = "relative error <= 0.1%"
"""Of sensor values in compact recordings."""

# float32 has 23 bits of mantissa; 9 of them are kept.
_DROPPED_BITS = 14

_PLAIN, _SAME, _STEPS, _SHORT_STEPS, _ROUNDED = "plain", "same", "steps", "short_steps", "rounded"
"""Ways to store an array: as it is, as the one value it is full of, as differences of neighbours (in 16 bits where they
fit), and rounded with equal bytes side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """The frame's parts other than its device rows."""

    slices: SliceColumns | None
    cells: CellColumns | None
    sensors: SensorColumns | None
    stream_names: tuple[str, ...]
    logs: tuple[LogRecord, ...]
    alarms: tuple[Alarm, ...]
    decisions: tuple[PeerDecision, ...]


def pack_extras(
    frame: TelemetryFrame,
    logs: Sequence[LogRecord],
    alarms: Sequence[Alarm],
    decisions: Sequence[PeerDecision],
    *,
    is_exact: bool,
) -> bytes:
    """Bytes from which `unpack_extras` restores everything, sensor values as closely as READING_PRECISION says."""
    arrays = [
        _packed(f"{part}.{field.name}", np.ascontiguousarray(getattr(columns, field.name)), is_exact=is_exact)
        for part, columns in (("slices", frame.slices), ("cells", frame.cells), ("sensors", frame.sensors))
        if columns is not None
        for field in fields(columns)
    ]
    header = {
        "arrays": [head for head, _ in arrays],
        "streams": frame.stream_names,
        "logs": [[log.time_s, log.cell, log.source, log.text] for log in logs],
        "alarms": [[a.time_s, a.cell, a.severity.value, a.kind, a.is_cleared] for a in alarms],
        "decisions": [asdict(decision) for decision in decisions],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    parts = [_LENGTH.pack(len(text)), text, *(body for _, body in arrays)]
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
    for name, dtype, shape, way in header["arrays"]:
        stored = np.dtype({_ROUNDED: np.float32, _SHORT_STEPS: np.int16}.get(way, dtype))
        count = int(np.prod(shape, dtype=np.int64))
        # One stored value could claim to fill any memory.
        if not 0 <= count * stored.itemsize <= _MAX_BYTES:
            raise ValueError(f"{name} has {count} values; at most {_MAX_BYTES} bytes of them are allowed")
        size = stored.itemsize * (1 if way == _SAME else count)
        restored = _restored(raw[start : start + size], stored, way, np.dtype(dtype))
        arrays[name] = np.full(shape, restored[0]) if way == _SAME else restored.astype(dtype).reshape(shape)
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
        decisions=tuple(_decision(stored) for stored in header["decisions"]),
    )


def _packed(name: str, array: NDArray[Any], *, is_exact: bool) -> tuple[list[Any], bytes]:
    head = [name, array.dtype.str, array.shape]
    if name == "sensors.device_id":
        steps = np.diff(array, prepend=array.dtype.type(0))
        short = steps.astype(np.int16)
        if np.array_equal(short, steps):
            return [*head, _SHORT_STEPS], short.tobytes()
        return [*head, _STEPS], steps.tobytes()
    if name == "sensors.value" and not is_exact:
        bits = array.astype(np.float32).view(np.uint32)
        half = np.uint32(1 << (_DROPPED_BITS - 1))
        rounded = np.where(np.isfinite(array), (bits + half) >> _DROPPED_BITS << _DROPPED_BITS, bits).astype(np.uint32)
        return [*head, _ROUNDED], rounded.view(np.uint8).reshape(-1, 4).T.tobytes()
    stored = array.tobytes()
    one = stored[: array.itemsize]
    if array.size > 1 and stored == one * array.size:
        return [*head, _SAME], one
    return [*head, _PLAIN], stored


def _restored(raw: bytes, dtype: np.dtype[Any], way: str, original: np.dtype[Any]) -> NDArray[Any]:
    if way == _ROUNDED:
        return np.frombuffer(raw, dtype=np.uint8).reshape(4, -1).T.copy().view(dtype).ravel()
    array = np.frombuffer(raw, dtype=dtype)
    return np.cumsum(array, dtype=original) if way in {_STEPS, _SHORT_STEPS} else array


def _decision(stored: dict[str, Any]) -> PeerDecision:
    lists = {"slice_prb": tuple(stored["slice_prb"]), "schedulers": tuple(stored["schedulers"])}
    return PeerDecision(**{**stored, **lists})

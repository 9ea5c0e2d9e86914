"""What an edge node holds of the interval under way, within bounds."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, fields

from telemetry_sim.records import LogRecord, TelemetryFrame

_MAX_LOGS = 1_000_000
_MAX_BYTES = 512 << 20
_OBJECT_BYTES = 128
"""What an array or a log line takes besides its content, roughly."""


@dataclass(slots=True, kw_only=True)
class OpenInterval:
    """Frames and log lines in the order in which they came; more than the bounds is counted and dropped."""

    frames: list[TelemetryFrame] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)
    """What came in and is not held, by reason."""
    _num_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.frames or self.logs)

    def hold_frame(self, frame: TelemetryFrame) -> None:
        if self._has_room(_frame_bytes(frame)):
            self.frames.append(frame)
        else:
            self.refuse_rows(frame, "frame_too_many")

    def hold_log(self, record: LogRecord) -> None:
        num_bytes = _OBJECT_BYTES + sys.getsizeof(record.source) + sys.getsizeof(record.text)
        if len(self.logs) < _MAX_LOGS and self._has_room(num_bytes):
            self.logs.append(record)
        else:
            self.unreadable["log_too_many"] += 1

    def refuse_rows(self, frame: TelemetryFrame, reason: str) -> None:
        """Count a frame's rows and readings, and hold none."""
        num_readings = 0 if frame.sensors is None else len(frame.sensors.value)
        self.unreadable[reason] += len(frame.devices.device_id) + num_readings

    def _has_room(self, num_bytes: int) -> bool:
        """Whether there is room for so much more; it is then taken."""
        if self._num_bytes + num_bytes > _MAX_BYTES:
            return False
        self._num_bytes += num_bytes
        return True


def _frame_bytes(frame: TelemetryFrame) -> int:
    parts = (frame.devices, frame.slices, frame.cells, frame.sensors)
    columns = [getattr(part, column.name) for part in parts if part is not None for column in fields(part)]
    names = sum(map(sys.getsizeof, frame.stream_names))
    return names + sum(_OBJECT_BYTES + int(column.nbytes) for column in columns)

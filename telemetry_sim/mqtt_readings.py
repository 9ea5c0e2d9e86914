"""One device's rows as a message of its own, and the way back into telemetry frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace

import numpy as np

from telemetry_sim.mqtt_protocol import ReadingsDocument
from telemetry_sim.records import DeviceColumns, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology

_KEYS = ("device_id", "cell", "slice")
READING_COLUMNS = tuple(field.name for field in fields(DeviceColumns) if field.name not in _KEYS)


def readings_by_device(telemetry: Telemetry, topology: Topology) -> Iterator[ReadingsDocument]:
    """The rows of each device; a device that moved reports where it ended up."""
    rows: dict[int, list[tuple[float | None, ...]]] = {}
    where: dict[int, tuple[int, int]] = {}
    for frame in telemetry.frames:
        values = np.column_stack([getattr(frame.devices, name) for name in READING_COLUMNS])
        columns = (frame.devices.device_id, frame.devices.cell, frame.devices.slice)
        for row, (device, cell, slice_index) in zip(values, zip(*columns, strict=True), strict=True):
            known = tuple(None if np.isnan(value) else float(value) for value in row)
            rows.setdefault(int(device), []).append((frame.time_s, *known))
            where[int(device)] = (topology.cells[cell].id, int(slice_index))
    for device, (cell, slice_index) in where.items():
        yield ReadingsDocument(device=device, cell=cell, slice=slice_index, rows=tuple(rows[device]))


def without_devices(telemetry: Telemetry) -> Telemetry:
    """What the cells count themselves."""
    return replace(telemetry, frames=tuple(_with_rows(frame, []) for frame in telemetry.frames))


def with_readings(telemetry: Telemetry, readings: Iterable[ReadingsDocument], cell_index: int) -> tuple[Telemetry, int]:
    """The frames with the devices' rows of their times, and how many rows came too late for any frame.

    Frames that hold devices' rows already keep those: the network reports for its devices itself.
    """
    by_time: dict[float, list[tuple[ReadingsDocument, tuple[float | None, ...]]]] = {
        frame.time_s: [] for frame in telemetry.frames if not len(frame.devices.device_id)
    }
    num_late = 0
    for document in readings:
        for row in document.rows:
            here = by_time.get(row[0]) if len(row) == len(READING_COLUMNS) + 1 and row[0] is not None else None
            if here is None:
                num_late += 1
            else:
                here.append((document, row))
    frames = tuple(
        _with_rows(frame, by_time[frame.time_s], cell_index) if frame.time_s in by_time else frame
        for frame in telemetry.frames
    )
    return replace(telemetry, frames=frames), num_late


def _with_rows(
    frame: TelemetryFrame, found: list[tuple[ReadingsDocument, tuple[float | None, ...]]], cell_index: int = 0
) -> TelemetryFrame:
    # In the order of the devices' numbers, as the network itself reports, whoever was heard first.
    rows = sorted(found, key=lambda pair: pair[0].device)
    values = np.array([row[1:] for _, row in rows], dtype=np.float64).reshape(len(rows), len(READING_COLUMNS))
    devices = DeviceColumns(
        device_id=np.array([document.device for document, _ in rows], np.int64),
        cell=np.full(len(rows), cell_index, np.int16),
        slice=np.array([document.slice for document, _ in rows], np.int16),
        **{name: values[:, column] for column, name in enumerate(READING_COLUMNS)},
    )
    return replace(frame, devices=devices)

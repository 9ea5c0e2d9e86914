"""Telemetry as JSON lines: one topology, frame or log line each, for pipes, files and brokers.

{"kind": "topology", "topology": {...}}
{"kind": "frame", "time_s": 1.0, "period_s": 1.0, "devices": {...}, "slices": {...}, "cells": {...}, "sensors": {...}}
{"kind": "log", "time_s": 0.5, "cell": 0, "source": "gnb", "text": "..."}

Columns are arrays by their names in `telemetry_sim.records`; null or a missing column means "not reported". `cell`,
there and in log lines, is an index into the topology's `cells`, not a cell's id.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from telemetry_sim.records import (
    DELAY_BIN_EDGES_MS,
    CellColumns,
    DeviceColumns,
    LogRecord,
    SensorColumns,
    SliceColumns,
    TelemetryFrame,
)
from telemetry_sim.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_LINE_BYTES = 64 << 20
_INTEGERS = {"device_id": np.int64, "cell": np.int16, "slice": np.int16, "stream": np.int16, "policy_version": np.int32}
_MAX_STREAM_NAMES = 4096
_MAX_ENTRIES = 1_000_000
"""Of a column: a short line must not fill the memory with what it leaves out."""


class Unreadable(StrEnum):
    """Why a line of telemetry was not read."""

    TOO_LONG = "line_too_long"
    BAD_JSON = "line_bad_json"
    UNKNOWN_KIND = "line_unknown_kind"
    BAD_TOPOLOGY = "line_bad_topology"
    BAD_FRAME = "line_bad_frame"
    BAD_LOG = "line_bad_log"


def parse_line(raw: bytes) -> Topology | TelemetryFrame | LogRecord | Unreadable:
    """What a line says, or why it can't be read."""
    if len(raw) > MAX_LINE_BYTES:
        return Unreadable.TOO_LONG
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return Unreadable.BAD_JSON
    kind = document.get("kind") if isinstance(document, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    return Unreadable.UNKNOWN_KIND if read is None else read(document)


def dump_topology(topology: Topology) -> str:
    """One line, without its end."""
    return json.dumps({"kind": "topology", "topology": topology.model_dump(mode="json")})


def dump_log(record: LogRecord) -> str:
    """One line, without its end."""
    document = {
        "kind": "log",
        "time_s": record.time_s,
        "cell": record.cell,
        "source": record.source,
        "text": record.text,
    }
    return json.dumps(document)


def dump_frame(frame: TelemetryFrame) -> str:
    """One line, without its end; columns that are NaN throughout are left out."""
    document: dict[str, Any] = {"kind": "frame", "time_s": frame.time_s, "period_s": frame.period_s}
    for name in ("devices", "slices", "cells", "sensors"):
        columns = getattr(frame, name)
        if columns is not None:
            parts = {f.name: getattr(columns, f.name) for f in fields(columns)}
            document[name] = {key: _listed(part) for key, part in parts.items() if _tells(part)}
    if frame.stream_names:
        document["stream_names"] = list(frame.stream_names)
    return json.dumps(document)


def _tells(values: NDArray[Any]) -> bool:
    return values.dtype.kind != "f" or not len(values) or not bool(np.isnan(values).all())


def _listed(values: NDArray[Any]) -> list[Any]:
    listed: list[Any] = values.tolist()
    return _with_nulls(listed) if values.dtype.kind == "f" else listed


def _with_nulls(values: list[Any]) -> list[Any]:
    return [_with_nulls(v) if isinstance(v, list) else None if math.isnan(v) else v for v in values]


def _topology(document: dict[str, Any]) -> Topology | Unreadable:
    try:
        return Topology.model_validate(document.get("topology"))
    except ValidationError:
        return Unreadable.BAD_TOPOLOGY


def _log(document: dict[str, Any]) -> LogRecord | Unreadable:
    time_s, cell = document.get("time_s"), document.get("cell", 0)
    source, text = document.get("source", ""), document.get("text")
    if not isinstance(time_s, int | float) or not isinstance(cell, int):
        return Unreadable.BAD_LOG
    if not isinstance(source, str) or not isinstance(text, str):
        return Unreadable.BAD_LOG
    try:
        return LogRecord(time_s=float(time_s), cell=cell, source=source, text=text)
    except OverflowError:
        return Unreadable.BAD_LOG


def _frame(document: dict[str, Any]) -> TelemetryFrame | Unreadable:
    try:
        devices = document["devices"]
        num_devices = len(devices["device_id"])
        slices, cells, sensors = (document.get(name) for name in ("slices", "cells", "sensors"))
        names = tuple(str(name)[:64] for name in document.get("stream_names", ())[:_MAX_STREAM_NAMES])
        return TelemetryFrame(
            time_s=float(document["time_s"]),
            period_s=float(document["period_s"]),
            devices=DeviceColumns(**_columns(DeviceColumns, devices, (num_devices,))),
            slices=None if slices is None else _slices(slices),
            cells=None if cells is None else CellColumns(**_columns(CellColumns, cells, _shape(CellColumns, cells))),
            sensors=None
            if sensors is None
            else SensorColumns(**_columns(SensorColumns, sensors, _shape(SensorColumns, sensors))),
            stream_names=names,
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RecursionError, StopIteration):
        return Unreadable.BAD_FRAME


def _slices(given: dict[str, Any]) -> SliceColumns:
    shape = _shape(SliceColumns, given)
    columns = _columns(SliceColumns, {k: v for k, v in given.items() if k != "delay_counts"}, shape)
    counts = given.get("delay_counts")
    if counts is None:
        columns["delay_counts"] = np.zeros((*shape, len(DELAY_BIN_EDGES_MS)), dtype=np.int64)
    else:
        columns["delay_counts"] = np.asarray(counts, dtype=np.int64).reshape(*shape, -1)
    return SliceColumns(**columns)


def _shape(kind: type[Any], given: dict[str, Any]) -> tuple[int, ...]:
    """One entry per cell or reading, or per cell and slice, as the first column that is there has it."""
    num_dimensions = 2 if kind is SliceColumns else 1
    found = next(given[column.name] for column in fields(kind) if given.get(column.name) is not None)
    shape = np.asarray(found, dtype=np.float64).shape
    if kind is SliceColumns and found is given.get("delay_counts"):
        shape = shape[:2]
    if len(shape) != num_dimensions:
        raise ValueError(f"{kind.__name__}: {len(shape)} dimensions, {num_dimensions} needed")
    return shape


def _columns(kind: type[Any], given: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    """Every column of the kind; what is missing is NaN, or -1 for integers."""
    if math.prod(shape) > _MAX_ENTRIES:
        raise ValueError(f"{kind.__name__}: shape {shape}, at most {_MAX_ENTRIES} entries allowed")
    columns: dict[str, Any] = {}
    for column in fields(kind):
        if column.name == "delay_counts":
            continue
        integer = _INTEGERS.get(column.name)
        values = given.get(column.name)
        if values is None:
            columns[column.name] = np.full(shape, -1 if integer else np.nan, dtype=integer or np.float64)
            continue
        found = np.asarray(values, dtype=integer or np.float64)
        if found.shape != shape:
            raise ValueError(f"{column.name}: shape {found.shape}, {shape} needed")
        columns[column.name] = found
    return columns


_READERS: dict[str, Callable[[dict[str, Any]], Topology | TelemetryFrame | LogRecord | Unreadable]] = {
    "topology": _topology,
    "frame": _frame,
    "log": _log,
}

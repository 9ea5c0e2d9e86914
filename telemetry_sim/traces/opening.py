"""Tells a recording's format from its content and opens it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.traces.explora import is_explora, read_explora
from telemetry_sim.traces.generic_csv import has_mapping, is_generic_csv, read_generic_csv
from telemetry_sim.traces.irish_5g import is_irish_5g, read_irish_5g
from telemetry_sim.traces.kpm import is_kpm, read_kpm
from telemetry_sim.traces.parquet_reader import is_parquet, read_parquet
from telemetry_sim.traces.scope import is_scope, read_scope
from telemetry_sim.traces.trace import TraceReader

_KNOWN = (
    "a folder of SCOPE *_metrics.csv files, an EXPLORA xApp log, an Irish 5G drive-test CSV, a KPM monitor's output, "
    "an Edgewright Parquet recording, or any CSV with a NAME.columns.json mapping beside it"
)


def open_trace(path: Path, *, columns: Mapping[str, str] | None = None) -> TraceReader:
    """The recording at a path, whatever its format; `columns` maps the columns of a generic CSV.

    Raises TraceUnreadable for a path that does not exist, is empty, cut off, or of no known format.
    """
    try:
        return _opened(path, columns)
    except OSError as error:
        raise TraceUnreadable(f"{path}: can't be read: {error}") from error


def _opened(path: Path, columns: Mapping[str, str] | None) -> TraceReader:
    if not path.exists():
        raise TraceUnreadable(f"{path}: does not exist; expected {_KNOWN}")
    is_empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
    if is_empty:
        raise TraceUnreadable(f"{path}: is empty; expected {_KNOWN}")
    if columns:
        return read_generic_csv(path, columns)
    for recognises, read in _FORMATS:
        if recognises(path):
            return read(path)
    inside = [child.name for child in sorted(path.iterdir()) if _is_known(child)] if path.is_dir() else []
    if inside:
        if len(inside) == 1:
            raise TraceUnreadable(f"{path}: is a folder; name the recording in it: {path / inside[0]}")
        raise TraceUnreadable(f"{path}: holds several recordings, name one of them: {', '.join(inside[:20])}")
    raise TraceUnreadable(f"{path}: format not recognised; expected {_KNOWN}")


def _is_known(path: Path) -> bool:
    return any(recognises(path) for recognises, _ in _FORMATS)


# A mapping beside a CSV is the user's own word, so it goes before any guess.
_FORMATS: tuple[tuple[Callable[[Path], bool], Callable[[Path], TraceReader]], ...] = (
    (is_parquet, read_parquet),
    (has_mapping, read_generic_csv),
    (is_scope, read_scope),
    (is_explora, read_explora),
    (is_irish_5g, read_irish_5g),
    (is_kpm, read_kpm),
    (is_generic_csv, read_generic_csv),
)

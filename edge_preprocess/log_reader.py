"""A log file or stream read to its end, with a row per line where asked for."""

from __future__ import annotations

import csv
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO

from edge_preprocess.errors import SourceUnreadable, StateUnreadable
from edge_preprocess.log_intake import LineSplitter, QuarantineReason
from edge_preprocess.log_report import report_of
from edge_preprocess.log_tally import LogDigester
from edge_preprocess.log_templates import LogTemplateMiner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from edge_preprocess.log_match import LogMatch
    from edge_preprocess.log_report import LogReport
    from edge_preprocess.site_key import SiteKey

    class RowWriter(Protocol):
        """What csv.writer gives."""

        def writerow(self, row: Iterable[object], /) -> object: ...

    Observed = LogMatch | QuarantineReason

_CHUNK_BYTES = 1 << 18
_COLUMNS = ("line", "template_id", "template", "parameters")
_LONG_WORK_BYTES = 32 << 20
"""Larger files are read behind a progress bar."""
_MAX_STATE_BYTES = 64 << 20


def digest_logs(
    file: Path,
    *,
    rows: Path | None,
    state: Path | None,
    announce: Callable[[LogMatch], None] | None = None,
    site_key: SiteKey | None = None,
) -> LogReport:
    """The report of a file or of the standard input (-); `announce` hears of each new template as it comes.

    With a site key, rows and report may leave the site: they hold no text of the log.
    """
    digester = LogDigester(_load(state))
    is_stream = str(file) == "-" or (file.exists() and not file.is_file())
    with _opened(file) as source, _row_target(rows if is_stream else None, is_stream=True) as target:
        for number, observed in _observe_all(digester, source):
            if target is not None:
                _write_row(target, number, observed, site_key)
            if announce is not None and not isinstance(observed, QuarantineReason) and observed.is_new:
                announce(observed)
    report = report_of(str(file), digester)
    if site_key is not None:
        report = replace(report, templates=tuple(replace(line, template="") for line in report.templates))
    _save(state, digester.miner)
    if not is_stream:
        _write_rows_again(file, rows, digester, site_key)
    return report


def _write_rows_again(file: Path, rows: Path | None, digester: LogDigester, site_key: SiteKey | None) -> None:
    """The rows of a file, in a second reading: templates have merged since their first lines were seen."""
    with _opened(file) as source, _row_target(rows, is_stream=False) as target:
        if target is not None:
            for number, observed in _observe_all(digester, source):
                _write_row(target, number, observed, site_key)


def _observe_all(digester: LogDigester, source: BinaryIO) -> Iterator[tuple[int, Observed]]:
    """Each line's number, from 1, and what it is; Ctrl-C ends a stream as its end would."""
    splitter = LineSplitter()
    number = 0
    try:
        while chunk := _read_some(source):
            for number, line in enumerate(splitter.feed(chunk), number + 1):  # noqa: B020 (goes on counting)
                yield number, _observe(digester, line)
    except KeyboardInterrupt:
        if source is not sys.stdin.buffer:
            raise
    for line in splitter.finish():
        yield number + 1, _observe(digester, line)


def _read_some(source: BinaryIO) -> bytes:
    """What is there now, without waiting for more; empty at the end."""
    read_now = getattr(source, "read1", source.read)
    chunk: bytes = read_now(_CHUNK_BYTES)
    return chunk


def _observe(digester: LogDigester, line: bytes | QuarantineReason) -> Observed:
    if isinstance(line, QuarantineReason):
        return digester.refuse(line)
    return digester.observe(line)


def _write_row(target: RowWriter, number: int, observed: Observed, site_key: SiteKey | None) -> None:
    if isinstance(observed, QuarantineReason):
        target.writerow((number, f"quarantined:{observed}", "", "[]"))
        return
    told = [(found.kind, site_key.exported(found) if site_key else found.text) for found in observed.parameters]
    # Words of a template may still be somebody's name; its id tells whoever knows the template.
    template = "" if site_key else observed.template
    target.writerow((number, observed.template_id, template, json.dumps(told, ensure_ascii=False)))


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        source = file.open("rb")
    except OSError as error:
        raise SourceUnreadable(f"log {str(file)!r}: {error.strerror}, allowed is a readable file or -") from error
    with source:
        if file.is_file() and not source.peek(1):
            raise SourceUnreadable(f"log {str(file)!r}: is empty; expected a file with at least one line")
        num_bytes = os.fstat(source.fileno()).st_size
        if num_bytes < _LONG_WORK_BYTES or not sys.stderr.isatty():
            yield source
            return
        from rich.console import Console
        from rich.progress import wrap_file

        with wrap_file(source, num_bytes, description="reading", console=Console(stderr=True)) as watched:
            yield watched


@contextmanager
def _row_target(rows: Path | None, *, is_stream: bool) -> Iterator[RowWriter | None]:
    if rows is None:
        yield None
    elif str(rows) == "-":
        yield _headed(sys.stdout)
    else:
        try:
            # Somebody may follow the rows of a stream as they come.
            target = rows.open("w", encoding="utf-8", newline="", buffering=1 if is_stream else -1)
        except OSError as error:
            raise SourceUnreadable(f"rows {str(rows)!r}: {error.strerror}, allowed is a writable file or -") from error
        with target:
            yield _headed(target)


def _headed(target: TextIO) -> RowWriter:
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(_COLUMNS)
    return writer


def _load(state: Path | None) -> LogTemplateMiner:
    if state is None or not state.exists():
        return LogTemplateMiner()
    try:
        with state.open("rb") as source:
            raw = source.read(_MAX_STATE_BYTES + 1)
        if len(raw) > _MAX_STATE_BYTES:
            raise StateUnreadable(f"state {str(state)!r}: over {_MAX_STATE_BYTES} bytes, allowed are that many")
        return LogTemplateMiner.from_state(json.loads(raw))
    except (OSError, ValueError, RecursionError) as error:
        raise StateUnreadable(f"state {str(state)!r}: {error}, allowed is a file saved by this command") from error


def _save(state: Path | None, miner: LogTemplateMiner) -> None:
    if state is None:
        return
    partial = state.with_name(state.name + ".partial")
    try:
        partial.write_text(json.dumps(miner.to_state()), encoding="utf-8")
        partial.replace(state)
    except OSError as error:
        raise StateUnreadable(f"state {str(state)!r}: {error.strerror}, allowed is a writable file") from error

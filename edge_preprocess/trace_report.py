"""What an edge node would say about a recording."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_preprocess.held_figures import HeldFigures
from edge_preprocess.intervals import cut
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.traces import open_trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_preprocess.digest import EdgeDigest
    from telemetry_sim.traces import TraceSummary


@dataclass(slots=True, kw_only=True)
class TraceReport:
    """Counts over a whole recording; read = accepted + quarantined for the reader and for the edge behind it."""

    summary: TraceSummary
    interval_s: float
    num_digests: int = 0
    num_received: int = 0
    num_accepted: int = 0
    edge_quarantined: Counter[str] = field(default_factory=Counter)
    num_anomalies: Counter[str] = field(default_factory=Counter)
    """By kind and severity."""
    digest_bytes: int = 0
    """As JSON lines."""
    unknown: tuple[str, ...] = ()
    """Figures of the digests that the recording does not hold."""
    slowest_ms: float = 0.0
    """CPU time of the slowest interval."""


class TraceDigests:
    """Digests of a recording in order; `report` is complete once they are through."""

    def __init__(self, path: Path, *, interval_s: float) -> None:
        self._trace = open_trace(path)
        self._pipeline = EdgePipeline(self._trace.topology, interval_s=interval_s, with_sla_risk=True)
        self.report = TraceReport(summary=self._trace.summary, interval_s=interval_s)

    def digests(self, progress: Callable[[float], None] | None = None) -> Iterator[EdgeDigest]:
        """One per cell and interval that holds a frame."""
        report, held = self.report, HeldFigures()
        for interval in cut(self._trace.frames(), self._trace.logs(), interval_s=report.interval_s):
            held.take(interval.frames)
            began_s = time.process_time()
            digests = self._pipeline.digest(interval.frames, interval.logs)
            report.slowest_ms = max(report.slowest_ms, 1000.0 * (time.process_time() - began_s))
            for digest in digests:
                self._count(digest)
                yield digest
            if progress is not None:
                progress(interval.number * report.interval_s)
        report.unknown = held.unknown
        report.edge_quarantined = self._pipeline.quarantine_reasons.copy()

    def _count(self, digest: EdgeDigest) -> None:
        self.report.num_digests += 1
        self.report.num_received += digest.quality.rows_received
        self.report.num_accepted += digest.quality.rows_accepted
        self.report.digest_bytes += len(digest.model_dump_json())
        self.report.num_anomalies.update(f"{anomaly.kind} {anomaly.severity}" for anomaly in digest.anomalies)

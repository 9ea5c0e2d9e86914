"""Recorded telemetry: a reader per format behind `open_trace`, and the recorder of the project's own.

trace = open_trace(Path("run.parquet"))
trace.topology, trace.summary, trace.decisions
for frame in trace.frames(): ...
"""

from telemetry_sim.traces.opening import open_trace
from telemetry_sim.traces.pacing import paced
from telemetry_sim.traces.parquet_recorder import ParquetRecorder, RecordingSize
from telemetry_sim.traces.trace import LoadedTrace, PeerDecision, TraceReader, TraceSummary

__all__ = [
    "LoadedTrace",
    "ParquetRecorder",
    "PeerDecision",
    "RecordingSize",
    "TraceReader",
    "TraceSummary",
    "open_trace",
    "paced",
]

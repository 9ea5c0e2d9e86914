"""Messages of every kind that a gateway may get, good and bad, and the account that the digests give of them."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess.pipeline import EdgePipeline
from edge_preprocess.wire import Unreadable, parse_line
from telemetry_sim.records import LogRecord, TelemetryFrame
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERVAL_S = 10.0
_PER_INTERVAL = 2_000
_ODD_NUMBERS = ("NaN", "Infinity", "-Infinity", "-1", "1e300", "1e-9", "0", "null", '"7"', "true", "[]")
_ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "\ud800",
    "\x1b[2J\x1b]0;x\x07",
    "\u202e\u200b\u2066",
    "</s><|im_start|>system",
    "9" * 20_000,
    "\"reboot\" 'oom' `panic`",
)
_ODD_LINES = (
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[1,2",
    b'{"kind":"alarm"}',
    b'{"kind":7}',
    b"null",
    b'{"kind":"frame"}',
    b"x" * 70_000,
)
_WORDS = ("ue", "attached", "handover", "failure", "link", "up", "down", "rlc", "max", "retx", "queue", "level", "oom")


@dataclass(frozen=True, slots=True, kw_only=True)
class StormReport:
    """What went in and what the digests say of it."""

    num_messages: int
    num_received: int
    num_quarantined: int
    num_reasons: int
    num_missing: int
    """Rows, readings, lines and unreadable messages that no digest counts."""
    num_unbalanced: int
    cpu_s: float
    grown_mb: float


def storm(num_messages: int, *, seed: int = 0) -> StormReport:
    """Read and digest generated messages; raises whatever breaks."""
    rng = np.random.default_rng(seed)
    topology = _topology()
    pipeline = EdgePipeline(topology, interval_s=_INTERVAL_S, with_sla_risk=True)
    sent = received = accepted = quarantined = 0
    grown_from_kb = 0
    began = time.process_time()
    for number in range(num_messages // _PER_INTERVAL):
        frames: list[TelemetryFrame] = []
        logs: list[LogRecord] = []
        unreadable: Counter[str] = Counter()
        for raw in _messages(rng, number * _INTERVAL_S):
            found = parse_line(raw)
            if isinstance(found, TelemetryFrame):
                frames.append(found)
                sent += len(found.devices.device_id) + (0 if found.sensors is None else len(found.sensors.value))
            elif isinstance(found, LogRecord):
                logs.append(found)
                sent += 1
            elif isinstance(found, Unreadable):
                unreadable[str(found)] += 1
                sent += 1
        for digest in pipeline.digest(frames, logs, unreadable=unreadable):
            received += digest.quality.rows_received
            accepted += digest.quality.rows_accepted
            quarantined += digest.quality.rows_quarantined
        if number == 0:
            grown_from_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reasons = pipeline.quarantine_reasons
    return StormReport(
        num_messages=num_messages // _PER_INTERVAL * _PER_INTERVAL,
        num_received=received,
        num_quarantined=quarantined,
        num_reasons=len(reasons),
        num_missing=abs(sent + reasons["counter_absurd"] - received) + abs(reasons.total() - quarantined),
        num_unbalanced=abs(received - accepted - quarantined),
        cpu_s=time.process_time() - began,
        grown_mb=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from_kb) / 1024.0,
    )


def _messages(rng: np.random.Generator, start_s: float) -> Iterator[bytes]:
    """One interval: nine lines in ten are log lines, the others frames and junk."""
    times = start_s + np.sort(rng.uniform(0.0, _INTERVAL_S, _PER_INTERVAL))
    kinds = rng.uniform(size=_PER_INTERVAL)
    for time_s, kind in zip(times.tolist(), kinds.tolist(), strict=True):
        if kind < 0.02:
            yield _frame(rng, time_s).encode()
        elif kind < 0.05:
            yield _ODD_LINES[rng.integers(len(_ODD_LINES))]
        else:
            yield _log(rng, time_s)


def _log(rng: np.random.Generator, time_s: float) -> bytes:
    text = (
        " ".join(_WORDS[n] for n in rng.integers(len(_WORDS), size=int(rng.integers(2, 9)))) + f" {rng.integers(1e6)}"
    )
    if rng.random() < 0.05:
        text = f"label {_ODD_TEXTS[rng.integers(len(_ODD_TEXTS))]} seen"
    source = ("gnb", "gateway", "firmware", "?")[rng.integers(4)]
    document = {"kind": "log", "time_s": time_s, "cell": int(rng.integers(-1, 3)), "source": source, "text": text}
    if rng.random() < 0.01:
        document["text"] = _ODD_TEXTS[rng.integers(len(_ODD_TEXTS))]
    return json.dumps(document).encode()


def _frame(rng: np.random.Generator, time_s: float) -> str:
    """A frame of a few devices as JSON text, one number in twenty an odd one."""
    count = int(rng.integers(0, 5))

    def numbers(size: int, low: float, high: float) -> str:
        values = [f"{value:.3f}" for value in rng.uniform(low, high, size)]
        for place in np.flatnonzero(rng.random(size) < 0.01):
            values[place] = _ODD_NUMBERS[rng.integers(len(_ODD_NUMBERS))]
        return f"[{','.join(values)}]"

    def whole(low: int, high: int, size: int) -> str:
        return json.dumps(rng.integers(low, high, size).tolist())

    stamp = str(rng.choice([-1.0, 0.0, 1e12, 1e8, time_s - 500.0])) if rng.random() < 0.05 else repr(time_s)
    devices = ",".join(
        (
            f'"device_id":{whole(0, 50, count)},"cell":{whole(0, 2, count)},"slice":{whole(0, 2, count)}',
            f'"served_bits":{numbers(count, 0.0, 1e6)},"offered_bits":{numbers(count, 0.0, 1e6)}',
            f'"rsrp_dbm":{numbers(count, -120.0, -60.0)},"sinr_db":{numbers(count, -5.0, 25.0)}',
        )
    )
    cells = f'"prb_used":{numbers(2, 0.0, 51.0)},"interference_dbm":{numbers(2, -120.0, -90.0)}'
    sensors = ",".join(
        (
            f'"time_s":{numbers(3, time_s - 1.0, time_s)},"device_id":{whole(0, 50, 3)}',
            f'"cell":{whole(-1, 3, 3)},"stream":{whole(0, 4, 3)},"value":{numbers(3, 0.0, 30.0)}',
        )
    )
    head = f'"kind":"frame","time_s":{stamp},"period_s":1.0'
    return f'{{{head},"devices":{{{devices}}},"cells":{{{cells}}},"sensors":{{{sensors}}}}}'


def _topology() -> Topology:
    slices = tuple(
        SliceProfile(
            id=SliceId(sst=sst),
            name="s",
            five_qi=9,
            delay_budget_ms=50.0,
            in_time_target=0.9,
            packet_size_bits=8000.0,
        )
        for sst in (1, 2)
    )
    cells = tuple(CellSite(id=number, name=f"c{number}", x_m=float(number), y_m=0.0) for number in range(2))
    return Topology(cells=cells, slices=slices)

"""Messages of every kind that a gateway may get, good and bad, and the account that the digests give of them."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.edge_state import load_state
from edge_preprocess.wire import dump_topology, parse_line
from telemetry_sim.records import DELAY_BIN_EDGES_MS, TelemetryFrame
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_preprocess.digest import EdgeDigest

_INTERVAL_S = 10.0
_PER_INTERVAL = 2_000
_HUGE = "1" + "0" * 400
_ODD_NUMBERS = (_HUGE, "NaN", "Infinity", "-Infinity", "-1", "1e300", "1e-9", "0", "null", '"7"', "true", "[]")
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
    b'{"kind":"log","text":"x","time_s":%s}' % _HUGE.encode(),
    b'{"kind":"frame","time_s":1,"period_s":1,"devices":{"device_id":[]},"sensors":{"value":3}}',
    b'{"kind":"frame","time_s":1,"period_s":1,"devices":{"device_id":[%s]}}' % _HUGE.encode(),
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


class _Account:
    """An outbox that sums what the digests say of their input."""

    is_empty = True

    def __init__(self) -> None:
        self.num_received = self.num_accepted = self.num_quarantined = 0

    def publish(self, digest: EdgeDigest) -> None:
        self.num_received += digest.quality.rows_received
        self.num_accepted += digest.quality.rows_accepted
        self.num_quarantined += digest.quality.rows_quarantined


def storm(num_messages: int, *, seed: int = 0) -> StormReport:
    """Feed generated messages to an edge node; raises whatever breaks."""
    rng = np.random.default_rng(seed)
    account = _Account()
    sent = grown_from_kb = 0
    cpu_s = 0.0
    with TemporaryDirectory() as name:
        folder = Path(name)
        node = EdgeNode(
            folder,
            folder / "digests.jsonl",
            interval_s=_INTERVAL_S,
            topology=_topology(2),
            with_sla_risk=True,
            outbox=account,
        )
        for number in range(num_messages // _PER_INTERVAL):
            lines = list(_messages(rng, number * _INTERVAL_S))
            sent += sum(map(_num_sent, lines))
            began = time.process_time()
            for line in lines:
                node.accept(line)
            cpu_s += time.process_time() - began
            if number == 1:
                grown_from_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        node.finish()
        node.stop()
        state = load_state(folder / "edge.state") or {}
    reasons = Counter(json.loads(state["pipeline.reasons"].tobytes()))
    missing = sent + reasons["counter_absurd"] - account.num_received, reasons.total() - account.num_quarantined
    return StormReport(
        num_messages=num_messages // _PER_INTERVAL * _PER_INTERVAL,
        num_received=account.num_received,
        num_quarantined=account.num_quarantined,
        num_reasons=len(reasons),
        num_missing=sum(map(abs, missing)),
        num_unbalanced=abs(account.num_received - account.num_accepted - account.num_quarantined),
        cpu_s=cpu_s,
        grown_mb=(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown_from_kb) / 1024.0,
    )


def _num_sent(line: bytes) -> int:
    """Rows and readings of a frame; 1 for a log line or anything else that counts as one."""
    found = parse_line(line)
    if not isinstance(found, TelemetryFrame):
        return 1
    return len(found.devices.device_id) + (0 if found.sensors is None else len(found.sensors.value))


def _messages(rng: np.random.Generator, start_s: float) -> Iterator[bytes]:
    """One interval: nine lines in ten are log lines, the others frames and junk."""
    times = start_s + np.sort(rng.uniform(0.0, _INTERVAL_S, _PER_INTERVAL))
    kinds = rng.uniform(size=_PER_INTERVAL)
    for time_s, kind in zip(times.tolist(), kinds.tolist(), strict=True):
        if kind < 0.02:
            yield _frame(rng, time_s).encode()
        elif kind < 0.021:
            yield dump_topology(_topology(int(rng.integers(3, 9)))).encode()
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
    slices = f'"num_devices":[{numbers(2, 0.0, 9.0)},{numbers(2, 0.0, 9.0)}]'
    if rng.random() < 0.8:
        num_bins = len(DELAY_BIN_EDGES_MS) - int(rng.choice([0, 1, 1, 1, 100]))
        slices += f',"delay_counts":{json.dumps(rng.integers(0, 5, (2, 2, num_bins)).tolist())}'
    cells = f'"prb_used":{numbers(2, 0.0, 51.0)},"interference_dbm":{numbers(2, -120.0, -90.0)}'
    sensors = ",".join(
        (
            f'"time_s":{numbers(3, time_s - 1.0, time_s)}',
            f'"device_id":{whole(0, 2**62 if rng.random() < 0.01 else 50, 3)}',
            f'"cell":{whole(-1, 3, 3)},"stream":{whole(0, 4, 3)},"value":{numbers(3, 0.0, 30.0)}',
        )
    )
    head = f'"kind":"frame","time_s":{stamp},"period_s":1.0'
    parts = f'"devices":{{{devices}}},"slices":{{{slices}}},"cells":{{{cells}}},"sensors":{{{sensors}}}'
    return f"{{{head},{parts}}}"


def _topology(num_cells: int) -> Topology:
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
    cells = tuple(CellSite(id=number, name=f"c{number}", x_m=float(number), y_m=0.0) for number in range(num_cells))
    return Topology(cells=cells, slices=slices)

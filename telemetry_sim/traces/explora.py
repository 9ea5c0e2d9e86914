r"""Reads an EXPLORA xApp log: the states a deep-RL controller saw and the slicing it decided on.

A state is a quoted string whose records `slice, buffer [bytes], downlink [Mb/s], granted/requested PRBs, slice PRBs,
packets` are parted by a literal `\n`; each device has two consecutive records (its last two reports). A message can end
in a few bytes of junk. Several actions can follow one state ("Using previous socket data").
The log has no granted PRBs: they are estimated from the rate that a slice reaches per PRB while its buffers are full.
"""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telemetry_sim.errors import TraceUnreadable
from telemetry_sim.topology import Topology
from telemetry_sim.traces.frame_building import DeviceRow, frames_as_reported, runs_of
from telemetry_sim.traces.trace import LoadedTrace, PeerDecision, RowTally, TraceSummary
from telemetry_sim.traces.traffic_classes import TRAFFIC_CLASSES, lte_cell, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NUM_PRB = 50
PERIOD_S = 1.0
"""What a state speaks for: the controller's interval in most logs (some look only every third second)."""

PROFILE_1, PROFILE_2 = "profile_1", "profile_2"

_SCHEDULERS = ("rr", "wf", "pf")
_NUM_SLICES = len(TRAFFIC_CLASSES)
_RECORD_COLUMNS = 6
_RECORDS_PER_DEVICE = 2
_MAX_LINE = 1_000_000
_MAX_MBPS = 100.0
_MAX_BUFFER_BYTES = 1e9
# Median rate of one device of each class. Source: the logs' own documentation of their two traffic profiles.
_PROFILE_MBPS = {PROFILE_1: (4.2, 0.06, 0.11), PROFILE_2: (2.15, 0.17, 0.23)}
_FULL_BUFFER_BYTES = 10_000.0
_STARVED_RATIO = 0.5
# LTE MCS 27 carries this on one PRB, for logs in which no slice was ever full. Source: 3GPP TS 36.213, 7.1.7.
_TOP_MBPS_PER_PRB = 0.63

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) +\S+ +(.*)$")
_STATE = re.compile(r"Received data: (['\"])(.*)$")
_ACTION = re.compile(r"(?:Action means|Send Action on E2 -) slice_prb \[([^\]]*)\].*sched \[([^\]]*)\]")
_REWARD = re.compile(r"(?:Action is .*Reward_avg is:|^reward) *(-?\d[\d.eE+-]*)")
_PROBE_LINES = 400


@dataclass(frozen=True, slots=True)
class _Record:
    slice: int
    buffer_bytes: float
    mbps: float
    granted_ratio: float
    slice_prb: int
    packets: float


@dataclass(slots=True)
class _State:
    unix_s: float
    devices: list[list[_Record]]


@dataclass(slots=True)
class _Log:
    states: list[_State] = field(default_factory=list)
    actions: list[PeerDecision] = field(default_factory=list)
    """Their time_s is still wall-clock time."""


def is_explora(path: Path) -> bool:
    """Whether the path is an xApp log or a folder with one."""
    file = _log_file(path)
    if file is None:
        return False
    with file.open(encoding="utf-8", errors="replace") as stream:
        lines = (stream.readline(_MAX_LINE) for _ in range(_PROBE_LINES))
        return any(_STATE.search(line) or _ACTION.search(line) for line in lines)


def read_explora(path: Path) -> LoadedTrace:
    """The log's states, a frame each, and its decisions; raises TraceUnreadable when no state is left."""
    file = _log_file(path)
    if file is None:
        raise TraceUnreadable(f"{path}: expected an xApp log (*.log)")
    tally = RowTally()
    log = _read_log(file, tally)
    if not log.states:
        raise TraceUnreadable(
            f"{file}: no state among {tally.rows_read} records; quarantined {dict(tally.quarantined)}"
        )
    present = sorted({record.slice for state in log.states for reports in state.devices for record in reports})
    # A state speaks for the period before it.
    start_s = log.states[0].unix_s - PERIOD_S
    frames = frames_as_reported(list(_device_rows(log.states, present, start_s)), period_s=PERIOD_S)
    profile = tell_profile(_rates_by_class(log.states))
    return LoadedTrace(
        topology=Topology(
            cells=(lte_cell("explora-cell"),), slices=tuple(slice_of(TRAFFIC_CLASSES[index]) for index in present)
        ),
        summary=TraceSummary(
            format="explora",
            rows_read=tally.rows_read,
            rows_accepted=tally.rows_accepted,
            quarantined=dict(tally.quarantined),
            num_devices=len({int(i) for frame in frames for i in frame.devices.device_id}),
            num_frames=len(frames),
            period_s=PERIOD_S,
            start_unix_s=start_s,
            runs_s=runs_of([frame.time_s for frame in frames]),
            notes=dict(tally.notes) | {"traffic_profile": profile},
        ),
        all_frames=frames,
        decisions=_decisions(log.actions, present, start_s),
    )


def tell_profile(rates_mbps: dict[str, Sequence[float]]) -> str:
    """Which of the two traffic profiles fits the median per-device rate of each class seen in a log.

    All classes count, since a slice that is short of PRBs shows less than its traffic.
    """
    medians = {name: statistics.median(rates) for name, rates in rates_mbps.items() if rates}

    def misfit(profile: str) -> float:
        expected = dict(zip(TRAFFIC_CLASSES, _PROFILE_MBPS[profile], strict=True))
        return math.fsum(abs(math.log(max(rate, 0.01) / expected[name])) for name, rate in medians.items())

    return min(_PROFILE_MBPS, key=misfit)


def _log_file(path: Path) -> Path | None:
    if path.is_dir():
        return next(iter(sorted(path.glob("*.log"))), None)
    return path if path.suffix == ".log" else None


def _read_log(file: Path, tally: RowTally) -> _Log:
    log = _Log()
    is_on_old_state = False
    reward = math.nan
    for unix_s, text in _lines(file, tally):
        state = _STATE.search(text)
        if state:
            is_on_old_state = False
            _read_state(unix_s, state.group(2), state.group(1), log, tally)
        elif "Using previous socket data" in text:
            is_on_old_state = True
            tally.note("actions_on_an_old_state")
        else:
            found = _REWARD.search(text)
            if found:
                reward = _finite(found.group(1))
            action = _ACTION.search(text)
            if action:
                _read_action(unix_s, action, log, tally, reward=reward, is_on_old_state=is_on_old_state)
                reward = math.nan
            elif found and text.startswith("reward") and log.actions:
                # This dialect writes the reward of an action after the state that follows it.
                log.actions[-1] = replace(log.actions[-1], reward=reward)
                reward = math.nan
    return log


def _lines(file: Path, tally: RowTally) -> Iterator[tuple[float, str]]:
    with file.open(encoding="utf-8", errors="replace") as stream:
        while line := stream.readline(_MAX_LINE):
            match = _LINE.match(line.rstrip("\n"))
            if match is None:
                tally.note("lines_without_time", int(bool(line.strip())))
                continue
            try:
                stamp = datetime.strptime(match.group(1), "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)
            except ValueError:
                tally.note("lines_without_time")
                continue
            yield stamp.timestamp(), match.group(2)


def _read_state(unix_s: float, text: str, quote: str, log: _Log, tally: RowTally) -> None:
    if not text.endswith(quote):
        tally.note("states_cut_short")
    records: list[_Record] = []
    for part in text.removesuffix(quote).split("\\n"):
        tally.read()
        record = _record(part, tally)
        if record:
            records.append(record)
    if log.states and unix_s <= log.states[-1].unix_s:
        tally.quarantine("time_backwards", len(records))
    elif records:
        log.states.append(_State(unix_s, _by_device(records)))


def _record(text: str, tally: RowTally) -> _Record | None:
    parts = text.split(",")
    if len(parts) != _RECORD_COLUMNS:
        tally.quarantine("junk" if len(parts) == 1 else "column_count")
        return None
    try:
        slice_index, slice_prb = int(parts[0]), int(parts[4])
        buffer_bytes, mbps, ratio, packets = (float(parts[i]) for i in (1, 2, 3, 5))
    except ValueError:
        tally.quarantine("not_a_number")
        return None
    if not all(map(math.isfinite, (buffer_bytes, mbps, ratio, packets))):
        tally.quarantine("not_finite")
        return None
    is_possible = 0 <= slice_index < _NUM_SLICES and 0 <= slice_prb <= NUM_PRB and 0 <= mbps <= _MAX_MBPS
    if not (is_possible and 0 <= buffer_bytes <= _MAX_BUFFER_BYTES and 0 <= ratio <= 1 and packets >= 0):
        tally.quarantine("out_of_range")
        return None
    return _Record(slice_index, buffer_bytes, mbps, ratio, slice_prb, packets)


def _by_device(records: Sequence[_Record]) -> list[list[_Record]]:
    """Reports of each device: two consecutive records of one slice belong to one device."""
    devices: list[list[_Record]] = []
    for record in records:
        if devices and devices[-1][0].slice == record.slice and len(devices[-1]) < _RECORDS_PER_DEVICE:
            devices[-1].append(record)
        else:
            devices.append([record])
    return devices


def _read_action(
    unix_s: float, action: re.Match[str], log: _Log, tally: RowTally, *, reward: float, is_on_old_state: bool
) -> None:
    try:
        slice_prb = tuple(int(part) for part in action.group(1).split(","))
        schedulers = tuple(_SCHEDULERS[int(part)] for part in action.group(2).split(","))
    except (ValueError, IndexError):
        tally.note("actions_unreadable")
        return
    if len(slice_prb) != _NUM_SLICES or len(schedulers) != _NUM_SLICES or sum(slice_prb) != NUM_PRB:
        tally.note("actions_unreadable")
        return
    log.actions.append(
        PeerDecision(
            time_s=unix_s,
            slice_prb=slice_prb,
            schedulers=schedulers,
            reward=reward,
            is_on_old_state=is_on_old_state,
        )
    )


def _decisions(actions: Sequence[PeerDecision], present: Sequence[int], start_s: float) -> tuple[PeerDecision, ...]:
    return tuple(
        replace(
            action,
            time_s=round(action.time_s - start_s, 3),
            slice_prb=tuple(action.slice_prb[index] for index in present),
            schedulers=tuple(action.schedulers[index] for index in present),
            unseen_prb=sum(prb for index, prb in enumerate(action.slice_prb) if index not in present),
        )
        for action in actions
    )


def _device_rows(states: Sequence[_State], present: Sequence[int], start_s: float) -> Iterator[DeviceRow]:
    mbps_per_prb = _mbps_per_prb(states)
    backlogs: dict[int, float] = {}
    for state in states:
        seen_in_slice = dict.fromkeys(present, 0)
        for reports in state.devices:
            slice_index = reports[0].slice
            seen_in_slice[slice_index] += 1
            device_id = 100 * (slice_index + 1) + seen_in_slice[slice_index]
            backlog_bits = 8.0 * reports[-1].buffer_bytes
            growth_bits = backlog_bits - backlogs.get(device_id, backlog_bits)
            backlogs[device_id] = backlog_bits
            mbps = math.fsum(record.mbps for record in reports) / len(reports)
            served_bits = 1e6 * mbps * PERIOD_S
            yield DeviceRow(
                time_s=round(state.unix_s - start_s, 3),
                device_id=device_id,
                cell=0,
                slice=present.index(slice_index),
                values={
                    "served_bits": served_bits,
                    "offered_bits": max(0.0, served_bits + growth_bits),
                    "backlog_bits": backlog_bits,
                    "prb": min(float(reports[-1].slice_prb), mbps / mbps_per_prb),
                },
            )


def _mbps_per_prb(states: Sequence[_State]) -> float:
    """What a PRB carries, from the reports in which every device of a slice is starved behind a full buffer."""
    found: list[float] = []
    for state in states:
        for slice_index in range(_NUM_SLICES):
            last = [reports[-1] for reports in state.devices if reports[-1].slice == slice_index]
            is_full = all(r.buffer_bytes >= _FULL_BUFFER_BYTES and r.granted_ratio < _STARVED_RATIO for r in last)
            if last and is_full and last[0].slice_prb > 0:
                found.append(math.fsum(r.mbps for r in last) / last[0].slice_prb)
    usable = [value for value in found if value > 0]
    return statistics.median(usable) if usable else _TOP_MBPS_PER_PRB


def _rates_by_class(states: Sequence[_State]) -> dict[str, Sequence[float]]:
    rates: dict[str, list[float]] = {name: [] for name in TRAFFIC_CLASSES}
    for state in states:
        for reports in state.devices:
            rates[TRAFFIC_CLASSES[reports[0].slice]].extend(record.mbps for record in reports)
    return dict(rates)


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan

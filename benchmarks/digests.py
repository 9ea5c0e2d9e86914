"""Digests measured: bytes, tokens, time, memory, and how well they foresee the next interval.

.venv/bin/python benchmarks/digests.py --data ../shared/data --json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.report.figures import Figure, as_text, figure
from edge_preprocess.compact import pack
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.records import (
    DELAY_BIN_EDGES_MS,
    CellColumns,
    DeviceColumns,
    LogRecord,
    SliceColumns,
    TelemetryFrame,
)
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

if TYPE_CHECKING:
    from edge_preprocess.digest import EdgeDigest

_FRAMES = 10
_ROW_BYTES = 4 * len(fields(DeviceColumns))
"""Raw telemetry at its leanest: every column as 32 bits."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGEWRIGHT_DATA", "../shared/data")))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages, a quarter of the SLA runs")
    options = parser.parse_args()
    figures = [*time_and_memory(), *sizes(), *forecasts()]
    figures += [*sla_risks(quick=options.quick), *messages(quick=options.quick)]
    if options.data.is_dir():
        figures += injections(options.data / "bipia")
    else:
        print(f"no recorded data at {options.data}: the attacks are left out", file=sys.stderr)
    if options.json:
        print(json.dumps({"figures": figures}, indent=2))
    else:
        for one in figures:
            print(as_text(one))


def time_and_memory() -> list[Figure]:
    """CPU time of one digest at 1,000 devices in a cell, beside bare sums, and what the process has grown by."""
    # Called first, so that nothing but the imports has been paid for.
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    topology = _topology(4, num_cells=1)
    rng = np.random.default_rng(0)
    pipeline = EdgePipeline(topology)
    cpu_ms, bare_ms = [], []
    for number in range(_NUM_TIMED + _NUM_UNTIMED):
        frames = _interval(topology, 1000, number, rng)
        began = time.process_time()
        pipeline.digest(frames, _lines(number))
        ended = time.process_time()
        _bare_sums(frames)
        if number >= _NUM_UNTIMED:
            cpu_ms.append(1000.0 * (ended - began))
            bare_ms.append(1000.0 * (time.process_time() - ended))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024.0
    return [
        figure("median of bare NumPy sums per slice of the same rows, CPU ms", np.median(bare_ms)),
        figure("median of one digest at 1,000 devices, CPU ms", np.median(cpu_ms)),
        figure("p99 of one digest at 1,000 devices, CPU ms", np.percentile(cpu_ms, 99), 5.0, at_most=True),
        figure(f"memory above the imports, {_NUM_TIMED} intervals, MB", grown_mb, 64.0, at_most=True),
    ]


_NUM_TIMED, _NUM_UNTIMED = 400, 5


def _bare_sums(frames: list[TelemetryFrame]) -> None:
    """The least that any digest does: each column's sum per slice."""
    group = np.concatenate([frame.devices.slice for frame in frames])
    for name in (f.name for f in fields(DeviceColumns) if f.name not in {"device_id", "cell", "slice"}):
        np.bincount(group, weights=np.concatenate([getattr(frame.devices, name) for frame in frames]))


def sizes() -> list[Figure]:
    """Bytes and tokens from 10 to 10,000 devices: 4 slices, and 8 with six neighbours, events and anomalies."""
    figures = []
    for num_slices, num_cells, bound in ((4, 4, 200.0), (8, 7, 600.0)):
        digests = {number: _after(_topology(num_slices, num_cells=num_cells), number) for number in _NUMS_OF_DEVICES}
        about = digests[1000]
        parts = (
            f"{len(about.neighbours)} neighbours, {len(about.events)} kinds of event, {len(about.anomalies)} anomalies"
        )
        lengths = {number: len(pack(digest)) for number, digest in digests.items()}
        tokens = _tokens(digests, _topology(num_slices, num_cells=num_cells))
        for number, length in lengths.items():
            place = f"{num_slices} slices, {number} devices"
            raw = _FRAMES * number * _ROW_BYTES
            figures += [
                figure(f"bytes of a digest, {place}", length, 2000.0, at_most=True),
                figure(f"tokens of the prompt, {place}", tokens[number], bound, at_most=True),
                figure(f"raw telemetry over digest, {place}", raw / length, 50.0 if number >= 1000 else None),
            ]
        print(f"{num_slices} slices: {parts}", file=sys.stderr)
        ratio = max(lengths.values()) / min(lengths.values())
        figures.append(figure(f"largest over smallest digest, {num_slices} slices", ratio, 1.1, at_most=True))
    return figures


_NUMS_OF_DEVICES = (10, 100, 1000, 10_000)


def _tokens(digests: dict[int, EdgeDigest], topology: Topology) -> dict[int, int]:
    """Tokens of the prompts to the embedded model, by number of devices."""
    from tokenizers import Tokenizer

    import agent
    from agent.expert import Expert
    from agent.goal import resolve_goals

    tokenizer = Tokenizer.from_file(str(Path(agent.__file__).parent / "weights" / "policy" / "tokenizer.json"))
    prompts = {n: Expert().foresee(d, resolve_goals((), topology, d)).prompt for n, d in digests.items()}
    return {number: len(tokenizer.encode(prompt.text).ids) for number, prompt in prompts.items()}


def forecasts() -> list[Figure]:
    """Error of the forecasts over the error of repeating the last value, on simulated load."""
    from telemetry_sim.network import Network
    from telemetry_sim.scenarios import scenario

    missed, repeated = np.zeros(2), np.zeros(2)
    for seed in range(300, 303):
        network = Network(scenario("smart-city"), seed=seed)
        pipeline = EdgePipeline(network.topology)
        before = None
        for number in range(50):
            telemetry = network.run(10.0)
            slices = [s for digest in pipeline.digest(telemetry.frames, telemetry.logs) for s in digest.slices]
            now = np.array([[s.demand_kbps, s.tasks_per_s] for s in slices])
            if before is not None and number > 5:
                missed += np.abs(now - before[1]).sum(axis=0)
                repeated += np.abs(now - before[0]).sum(axis=0)
            before = now, np.array([[s.forecast_demand_kbps, s.forecast_tasks_per_s] for s in slices])
    return [
        figure("forecast of demand: error over that of the last value", missed[0] / repeated[0], 1.0, at_most=True),
        figure("forecast of tasks: error over that of the last value", missed[1] / repeated[1], 1.0, at_most=True),
    ]


def sla_risks(*, quick: bool) -> list[Figure]:
    """Skill of the chance of missing an SLA next, on seeds that its weights have not seen, in all scenarios."""
    from sla_risk import brier_scores

    scores = brier_scores(range(700, 701 if quick else 702), num_intervals=30 if quick else 60)
    figures = [figure(f"SLA misses, Brier score of the {name}", score) for name, score in scores.items()]
    return figures + [
        figure(f"SLA misses, Brier skill of the risk over the {name}", 1.0 - scores["risk"] / scores[name], 0.0)
        for name in scores
        if name != "risk"
    ]


def messages(*, quick: bool) -> list[Figure]:
    """Generated messages of all kinds, good and bad, through an edge node's reader and pipeline."""
    from message_storm import storm

    found = storm(100_000 if quick else 1_000_000)
    return [
        figure("messages without a crash", found.num_messages, 100_000 if quick else 1_000_000),
        figure("rows, readings, lines and counters received", found.num_received),
        figure("of them quarantined", found.num_quarantined),
        figure("kinds of reason for it", found.num_reasons),
        figure("sent or refused, but in no digest's account", found.num_missing, 0.0, at_most=True),
        figure("received minus accepted minus quarantined", found.num_unbalanced, 0.0, at_most=True),
        figure("messages per CPU-second", found.num_messages / found.cpu_s),
        figure("memory grown by, MB", found.grown_mb, 64.0, at_most=True),
    ]


def injections(folder: Path) -> list[Figure]:
    """Recorded attacks written into log variables and stream names: digests whose bytes stay as they are."""
    attacks = []
    for path in sorted(folder.glob("*_attack_train.json")):
        for group in json.loads(path.read_text()).values():
            attacks += group
    usual = _bytes_with("camera 7")
    equal = sum(_bytes_with(attack) == usual for attack in attacks)
    return [figure(f"attacks of {len(attacks)} that change no byte, with their own quotes", equal, len(attacks))]


def _bytes_with(text: str) -> list[bytes]:
    topology = _topology(4)
    pipeline = EdgePipeline(topology)
    text = " ".join(text.split())
    lines = [
        LogRecord(time_s=1.0, cell=0, source="gnb", text=f'00001.000 [RRC] I cell=0 ue name="{text}" attached'),
        LogRecord(time_s=2.0, cell=0, source="firmware", text=f"[   3.0] dev-00001 label '{text}'"),
    ]
    frames = _interval(topology, 20, 0, np.random.default_rng(1), stream_names=(text,))
    return [pack(digest) for digest in pipeline.digest(frames, lines)]


def _after(topology: Topology, num_devices: int) -> EdgeDigest:
    """The digest after a few intervals of a busy cell."""
    rng = np.random.default_rng(2)
    pipeline = EdgePipeline(topology)
    for number in range(6):
        digests = pipeline.digest(_interval(topology, num_devices, number, rng), _lines(number))
    return digests[0]


def _lines(number: int) -> list[LogRecord]:
    return [
        LogRecord(time_s=10.0 * number, cell=0, source="gnb", text=f"[RRC] W cell=0 ue=0x{n:04x} {_TROUBLES[n % 16]}")
        for n in range(20)
    ]


_TROUBLES = (
    "handover failure",
    "radio link failure",
    "max retx reached, rlc",
    "random access failure",
    "rrc connection rejected",
    "cell outage",
    "interference detected",
    "queue overflow",
    "backhaul link lost",
    "carrier flap on eth0",
    "packets dropped",
    "out of memory",
    "restarted",
    "temperature exceeded",
    "clock drift",
    "login failed",
)


def _topology(num_slices: int, *, num_cells: int = 4) -> Topology:
    slices = tuple(
        SliceProfile(
            id=SliceId(sst=1 + n % 4, sd=n),
            name=f"slice {n}",
            five_qi=9,
            delay_budget_ms=50.0,
            in_time_target=0.9,
            packet_size_bits=12_000.0,
            task_megacycles=20.0,
        )
        for n in range(num_slices)
    )
    cells = tuple(
        CellSite(
            id=n, name=f"cell {n}", x_m=300.0 * n, y_m=0.0, neighbours=tuple(m for m in range(num_cells) if m != n)
        )
        for n in range(num_cells)
    )
    return Topology(cells=cells, slices=slices)


def _interval(
    topology: Topology, num_devices: int, number: int, rng: np.random.Generator, *, stream_names: tuple[str, ...] = ()
) -> list[TelemetryFrame]:
    """Ten seconds of one busy cell; the three others report their counters only."""
    num_cells, num_slices = len(topology.cells), len(topology.slices)
    frames = []
    for second in range(_FRAMES):
        offered = rng.gamma(2.0, 2e4, num_devices)
        columns = {
            f.name: rng.uniform(0.0, 1.0, num_devices)
            for f in fields(DeviceColumns)
            if f.name not in {"device_id", "cell", "slice"}
        }
        columns |= {"offered_bits": offered, "served_bits": 0.9 * offered, "in_time_bits": 0.8 * offered}
        columns |= {"rsrp_dbm": rng.normal(-95.0, 8.0, num_devices), "delay_ms": rng.gamma(2.0, 10.0, num_devices)}
        slice_index = (np.arange(num_devices) % num_slices).astype(np.int16)
        devices = DeviceColumns(
            device_id=np.arange(num_devices), cell=np.zeros(num_devices, dtype=np.int16), slice=slice_index, **columns
        )
        totals = np.zeros((num_cells, num_slices))
        totals[0] = np.bincount(slice_index, offered, num_slices)
        shape = (num_cells, num_slices)
        grid = {f.name: rng.uniform(1.0, 9.0, shape) for f in fields(SliceColumns) if f.name != "delay_counts"}
        grid |= {"offered_bits": totals, "served_bits": 0.9 * totals, "in_time_bits": 0.8 * totals}
        slices = SliceColumns(delay_counts=rng.integers(0, 50, (*shape, len(DELAY_BIN_EDGES_MS))), **grid)
        parts = {f.name: rng.uniform(0.5, 1.0, num_cells) for f in fields(CellColumns) if f.name != "policy_version"}
        parts["interference_dbm"] = rng.normal(-100.0, 1.0, num_cells)
        cells = CellColumns(policy_version=np.zeros(num_cells, dtype=np.int32), **parts)
        frames.append(
            TelemetryFrame(
                time_s=10.0 * number + second + 1.0,
                period_s=1.0,
                devices=devices,
                slices=slices,
                cells=cells,
                stream_names=stream_names,
            )
        )
    return frames


if __name__ == "__main__":
    main()

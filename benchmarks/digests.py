"""Digests measured: bytes, tokens, time, memory, and how well they foresee the next interval.

.venv/bin/python benchmarks/digests.py --data ../shared/data --json
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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

Figure = dict[str, object]
_FRAMES = 10
_ROW_BYTES = 4 * len(fields(DeviceColumns))
"""Raw telemetry at its leanest: every column as 32 bits."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = [*time_and_memory(), *sizes(), *forecasts()]
    if options.data.is_dir():
        figures += injections(options.data / "bipia")
    else:
        print(f"no recorded data at {options.data}: the attacks are left out", file=sys.stderr)
    if options.json:
        print(json.dumps({"figures": figures}, indent=2))
    else:
        for one in figures:
            print(f"{one['figure']:<72} {one['measured']!s:>12}  target {one['target']!s:<8} holds {one['holds']}")


def _figure(name: str, measured: float, target: float | None = None, *, at_most: bool = False) -> Figure:
    holds = None if target is None else bool(measured <= target if at_most else measured >= target)
    sign = "<=" if at_most else ">="
    return {
        "figure": name,
        "measured": round(float(measured), 4),
        "target": None if target is None else f"{sign} {target:g}",
        "holds": holds,
    }


def time_and_memory() -> list[Figure]:
    """CPU time of one digest at 1,000 devices in a cell, and what the process has grown by."""
    topology = _topology(4, num_cells=1)
    rng = np.random.default_rng(0)
    pipeline = EdgePipeline(topology)
    pipeline.digest(_interval(topology, 10, 0, rng), ())
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_ms = []
    for number in range(1, 201):
        frames = _interval(topology, 1000, number, rng)
        began = time.process_time()
        pipeline.digest(frames, _lines(number))
        cpu_ms.append(1000.0 * (time.process_time() - began))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024.0
    return [
        _figure("median of one digest at 1,000 devices, CPU ms", np.median(cpu_ms)),
        _figure("p99 of one digest at 1,000 devices, CPU ms", np.percentile(cpu_ms, 99), 5.0, at_most=True),
        _figure("memory above the imports, 200 intervals, MB", grown_mb, 64.0, at_most=True),
    ]


def sizes() -> list[Figure]:
    """Bytes and tokens from 10 to 10,000 devices."""
    figures, at_four = [], []
    for num_devices in (10, 100, 1000, 10_000):
        digest = _after(_topology(4), num_devices)
        at_four.append(len(pack(digest)))
        figures.append(
            _figure(f"bytes of a digest, 4 slices, {num_devices} devices", at_four[-1], 2000.0, at_most=True)
        )
        raw = _FRAMES * num_devices * _ROW_BYTES
        target = 50.0 if num_devices >= 1000 else None
        figures.append(_figure(f"raw telemetry over digest, {num_devices} devices", raw / at_four[-1], target))
    figures.append(_figure("largest over smallest digest, 10 to 10,000 devices", max(at_four) / min(at_four)))
    digests = {4: _after(_topology(4), 1000), 8: _after(_topology(8), 1000)}
    figures.append(_figure("bytes of a digest, 8 slices, 1000 devices", len(pack(digests[8]))))
    for number, tokens in _tokens(digests).items():
        figures.append(
            _figure(f"tokens of the prompt, {number} slices", tokens, 200.0 if number == 4 else 600.0, at_most=True)
        )
    return figures


def _tokens(digests: dict[int, EdgeDigest]) -> dict[int, int]:
    """Tokens of the prompts in the embedded model's own kind of tokenizer, trained on these prompts."""
    from agent.goal import resolve_goals
    from agent.pretraining.tokenizer import train_tokenizer
    from agent.prompting import write_prompt

    prompts = {n: write_prompt(d, resolve_goals((), _topology(n), d)).text for n, d in digests.items()}
    tokenizer = train_tokenizer(prompts.values())
    return {number: len(tokenizer.encode(text).ids) for number, text in prompts.items()}


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
        _figure("forecast of demand: error over that of the last value", missed[0] / repeated[0], 1.0, at_most=True),
        _figure("forecast of tasks: error over that of the last value", missed[1] / repeated[1], 1.0, at_most=True),
    ]


def injections(folder: Path) -> list[Figure]:
    """Recorded attacks written into log variables and stream names: digests whose bytes stay as they are."""
    attacks = []
    for path in sorted(folder.glob("*_attack_train.json")):
        for group in json.loads(path.read_text()).values():
            attacks += group
    usual = _bytes_with("camera 7")
    equal = sum(_bytes_with(attack) == usual for attack in attacks)
    quoted = sum(_bytes_with(attack.replace('"', "'")) == usual for attack in attacks)
    return [
        _figure(f"attacks of {len(attacks)} that change no byte, double quotes inside kept", equal),
        _figure(f"attacks of {len(attacks)} that change no byte", quoted, len(attacks)),
    ]


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
        LogRecord(time_s=10.0 * number, cell=0, source="gnb", text=f"[RRC] W cell=0 ue=0x{n:04x} handover failure")
        for n in range(20)
    ]


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

"""Anomaly detection measured: NAB, sensors with labelled events, simulated faults, throughput.

.venv/bin/python benchmarks/anomalies.py --data ../shared/data --json
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fault_detection import INTERVAL_S, FaultScore, score_faults
from nab_scoring import Profile, Series, benchmark_score, load_profiles, load_series
from peers import add_peer_option, ask_peer

from agent.report.figures import Figure, as_text, figure
from edge_preprocess.change_points import ChangePointDetector
from edge_preprocess.detectors import ALARM, Detector, scores_in_order
from edge_preprocess.ewma import EwmaDetector
from edge_preprocess.novelty import NoveltyDetector
from telemetry_sim.scenarios import list_scenarios

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGEWRIGHT_DATA", "../shared/data")))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer simulated faults and a shorter quiet run")
    add_peer_option(parser)
    options = parser.parse_args()
    figures: list[Figure] = []
    parts = [throughput, lambda: faults(quick=options.quick)]
    if options.data.is_dir():
        parts = [
            lambda: nab(options.data / "nab", options.peer_python),
            lambda: sensors(options.data / "wsn_suthaharan"),
            *parts,
        ]
    else:
        print(f"no recorded data at {options.data}: NAB and the sensors are left out", file=sys.stderr)
    for part in parts:
        figures += part()
        print(f"{len(figures)} figures", file=sys.stderr)
    if options.json:
        print(json.dumps({"figures": figures}, indent=2))
    else:
        for one in figures:
            print(as_text(one))


def nab(folder: Path, python: Path | None) -> list[Figure]:
    """Scores of every detector with its frozen threshold; the full one has targets."""
    series, profiles = load_series(folder), load_profiles(folder)
    longest = max(len(one.value) for one in series)
    values = np.full((longest, len(series)), np.nan)
    for place, one in enumerate(series):
        values[: len(one.value), place] = one.value
    targets = {"standard": 60.0, "reward_low_FP_rate": 50.0}
    figures = []
    for name, detector in _detectors(len(series)):
        scores = scores_in_order(detector, values)
        kept = [scores[: len(one.value), place] for place, one in enumerate(series)]
        for profile_name, profile in profiles.items():
            target = targets.get(profile_name) if name == "novelty" else None
            measured = benchmark_score(series, kept, ALARM, profile)
            figures.append(figure(f"NAB {profile_name}, {name}, {len(series)} series", measured, target))
    return figures + _river_on_nab(series, profiles, python)


def _detectors(num_streams: int) -> list[tuple[str, Detector]]:
    return [
        ("novelty", NoveltyDetector(num_streams)),
        ("ewma", EwmaDetector(num_streams)),
        ("change points", ChangePointDetector(num_streams)),
    ]


def _river_on_nab(series: list[Series], profiles: dict[str, Profile], python: Path | None) -> list[Figure]:
    """River's detectors on the same rows, each at its best threshold in hindsight; nothing where river is missing."""
    answer = ask_peer("peer_river.py", {"series": [one.value.tolist() for one in series]}, python)
    figures, num_rows = [], sum(len(one.value) for one in series)
    for model, found in ({} if answer is None else answer).items():
        kept = [np.array(scores) for scores in found["scores"]]
        figures.append(figure(f"river {model}, points per CPU-second", num_rows / found["seconds"]))
        thresholds = np.unique(np.quantile(np.concatenate(kept), _QUANTILES))
        for name, profile in profiles.items():
            best = max(benchmark_score(series, kept, threshold, profile) for threshold in thresholds)
            figures.append(figure(f"NAB {name}, river {model}, best threshold in hindsight", best))
    return figures


_QUANTILES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)


def sensors(folder: Path) -> list[Figure]:
    """Labelled events of real motes: humidity and temperature together."""
    readings: dict[str, list[tuple[float, float, int]]] = {}
    with (folder / "single" / "data" / "data.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            reading = (float(row["humidity"]), float(row["temperature"]), int(float(row["label"])))
            readings.setdefault(row["mote_id"], []).append(reading)
    num_events = num_seen = num_false = num_normal = num_labelled = num_labelled_seen = 0
    for mote in readings.values():
        table = np.array(mote)
        label = table[:, 2] > 0
        alarm = (scores_in_order(NoveltyDetector(2), table[:, :2]) >= ALARM).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], label.astype(int), [0]))))
        for start, end in edges.reshape(-1, 2):
            num_events += 1
            num_seen += bool(alarm[start:end].any())
        num_false += int((alarm & ~label).sum())
        num_normal += int((~label).sum())
        num_labelled += int(label.sum())
        num_labelled_seen += int((alarm & label).sum())
    return [
        figure(f"WSN events, recall over {num_events} events", num_seen / num_events, 0.9),
        figure("WSN false alarms per 1,000 readings", 1000.0 * num_false / num_normal, 1.0, at_most=True),
        figure("WSN labelled readings that alarm (one alarm per event is meant)", num_labelled_seen / num_labelled),
    ]


def throughput() -> list[Figure]:
    """Points per CPU-second in lockstep, beside a bare NumPy mean of the same streams."""
    values = np.random.default_rng(0).standard_normal((2000, 1000)) + np.sin(np.arange(2000) / 46.0)[:, None]
    bare = _rate(lambda row, level: level + 0.05 * (row - level), values)
    cheap, full, few = EwmaDetector(1000), NoveltyDetector(1000), NoveltyDetector(100)
    for detector, width in ((full, 1000), (few, 100)):
        # The search costs most once its memory is full.
        for _ in range(3):
            for row in values[:1400, :width]:
                detector.learn_many(row)
    return [
        figure("bare NumPy EWMA, 1,000 streams, points per CPU-second", bare),
        figure("cheap tier, 1,000 streams, points per CPU-second", _detector_rate(cheap, values), 20e6),
        figure("full detector, 1,000 streams, points per CPU-second", _detector_rate(full, values[:400]), 250e3),
        figure("full detector, 100 streams, points per CPU-second", _detector_rate(few, values[:, :100]), 250e3),
    ]


def _rate(step: Callable[[np.ndarray, np.ndarray], np.ndarray], values: np.ndarray) -> float:
    level = np.zeros(values.shape[1])
    began = time.process_time()
    for _ in range(10):
        for row in values:
            level = step(row, level)
    return 10 * values.size / (time.process_time() - began)


def _detector_rate(detector: Detector, values: np.ndarray) -> float:
    began = time.process_time()
    scores_in_order(detector, values)
    return values.size / (time.process_time() - began)


def faults(*, quick: bool) -> list[Figure]:
    """Simulated faults with known truth in every scenario, and runs without any."""
    names = ["smart-city"] if quick else [summary.name for summary in list_scenarios()]
    seen, quiet = FaultScore(), FaultScore()
    for place, name in enumerate(names):
        first = 100 + 10 * place
        seen += score_faults(range(first, first + 3), num_intervals=100, name=name)
        seeds = range(first + 200, first + 201)
        quiet += score_faults(seeds, num_intervals=100 if quick else 600, with_faults=False, name=name)
        print(f"{name}: {seen.num_seen} of {seen.num_grave} so far, {quiet.num_false} false", file=sys.stderr)
    for evidence in (*seen.false_evidence[:20], *quiet.false_evidence[:20]):
        print(f"false major: {evidence}", file=sys.stderr)
    quiet_days = quiet.num_quiet * INTERVAL_S / 86_400.0
    located = seen.num_seen / max(seen.num_seen + seen.num_elsewhere, 1)
    where = f"{len(names)} scenarios"
    return [
        figure(
            f"critical and major faults in the digest within two intervals, of {seen.num_grave} in {where}",
            seen.num_seen / seen.num_grave,
            0.95,
        ),
        figure("faults named in the right cell, of those named", located, 0.9),
        figure("false majors a site-day, beside faults elsewhere", seen.false_per_site_day, 1.0, at_most=True),
        figure(
            f"false majors a site-day, {quiet_days:.2f} quiet site-days in {where}",
            quiet.false_per_site_day,
            1.0,
            at_most=True,
        ),
    ]


if __name__ == "__main__":
    main()

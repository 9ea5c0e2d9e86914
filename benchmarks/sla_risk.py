"""The chance of missing an SLA next: its skill on simulated runs, and the fit of its weights.

.venv/bin/python benchmarks/sla_risk.py --fit
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge_preprocess.pipeline import EdgePipeline
from edge_preprocess.sla_forecast import FEATURES
from telemetry_sim.actions import SliceAction
from telemetry_sim.network import Network
from telemetry_sim.scenarios import list_scenarios, scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

RESTLESS_SEEDS, CALM_SEEDS = range(100_000, 100_004), range(100_010, 100_013)
"""Of the runs that the weights are fitted on."""
_WARM_UP = 5
"""Intervals until the forecasts have settled."""
_RIDGE = 1e-3
_CHANGE_EVERY, _CHANGE_CHANCE = 5, 0.7


def observed(
    name: str, seed: int, *, num_intervals: int, is_restless: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Features, risks, whether the target was missed then and whether it was missed next: intervals by groups.

    A restless run gets shares drawn at random every few intervals.
    """
    network = Network(scenario(name), seed=seed)
    pipeline = EdgePipeline(network.topology, with_sla_risk=True)
    target = np.array([profile.in_time_target for profile in network.topology.slices])
    rng = np.random.default_rng(seed)
    features, risks, missed = [], [], []
    for number in range(num_intervals):
        if is_restless and number and number % _CHANGE_EVERY == 0 and rng.random() < _CHANGE_CHANCE:
            _draw_shares(network, rng, number)
        telemetry = network.run(10.0)
        digests = pipeline.digest(telemetry.frames, telemetry.logs)
        missed.append([part.in_time_ratio < target[order] for one in digests for order, part in enumerate(one.slices)])
        risks.append([part.sla_risk for one in digests for part in one.slices])
        features.append(pipeline.state()["sla.features"])
    past = slice(_WARM_UP, -1)
    return np.array(features)[past], np.array(risks)[past], np.array(missed)[past], np.array(missed)[_WARM_UP + 1 :]


def _draw_shares(network: Network, rng: np.random.Generator, version: int) -> None:
    slices = network.topology.slices
    share = np.floor(100.0 * rng.dirichlet(np.full(len(slices), 2.0), size=len(network.topology.cells))).astype(int)
    actions = [
        SliceAction(cell=cell.id, slice=slices[order].id, min_pct=int(part), compute_pct=100 // len(slices))
        for cell, row in zip(network.topology.cells, share, strict=True)
        for order, part in enumerate(row)
    ]
    network.apply(actions, policy_version=version)


def brier_scores(seeds: Iterable[int], *, num_intervals: int) -> dict[str, float]:
    """Mean squared error of the risk, of the rate over all of these runs, of each slice's own rate, of the last value.

    All rates are known in hindsight only; every second seed is restless.
    """
    risks, rates, lasts, outcomes = [], [], [], []
    for place, seed in enumerate(seeds):
        for name in (summary.name for summary in list_scenarios()):
            _, risk, now, then = observed(name, seed, num_intervals=num_intervals, is_restless=place % 2 == 1)
            risks.append(risk.ravel())
            rates.append(np.broadcast_to(then.mean(axis=0), then.shape).ravel())
            lasts.append(now.ravel())
            outcomes.append(then.ravel())
    outcome = np.concatenate(outcomes).astype(np.float64)
    guesses = {
        "risk": np.concatenate(risks),
        "climatology": np.full(len(outcome), outcome.mean()),
        "climatology of each slice": np.concatenate(rates),
        "last interval": np.concatenate(lasts).astype(np.float64),
    }
    return {name: float(((guess - outcome) ** 2).mean()) for name, guess in guesses.items()}


def fitted_weights(*, num_intervals: int) -> list[float]:
    """Logistic regression by Newton's method over all scenarios and the seeds above."""
    tables, outcomes = [], []
    for seed in (*RESTLESS_SEEDS, *CALM_SEEDS):
        for name in (summary.name for summary in list_scenarios()):
            table, _, _, then = observed(name, seed, num_intervals=num_intervals, is_restless=seed in RESTLESS_SEEDS)
            tables.append(table.reshape(-1, len(FEATURES)))
            outcomes.append(then.ravel())
            print(f"{name} {seed}: missed {then.mean():.2f}", file=sys.stderr)
    table, outcome = np.concatenate(tables), np.concatenate(outcomes).astype(np.float64)
    weights = np.zeros(len(FEATURES))
    for _ in range(30):
        chance = 1.0 / (1.0 + np.exp(-table @ weights))
        gradient = table.T @ (chance - outcome) / len(outcome) + _RIDGE * weights
        curvature = (table * (chance * (1.0 - chance))[:, None]).T @ table / len(outcome) + _RIDGE * np.eye(
            len(weights)
        )
        weights -= np.linalg.solve(curvature, gradient)
    return [round(float(weight), 4) for weight in weights]


def main() -> None:
    """Print scores, or weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="print weights for edge_preprocess/sla_forecast.py")
    parser.add_argument("--intervals", type=int, default=60)
    options = parser.parse_args()
    if options.fit:
        found = dict(zip(FEATURES, fitted_weights(num_intervals=options.intervals), strict=True))
        print(json.dumps(found, indent=1))
    else:
        print(json.dumps(brier_scores(range(700, 702), num_intervals=options.intervals), indent=1))


if __name__ == "__main__":
    main()

"""Training examples: random but possible digests, and what the optimiser makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.prompting import write_answer, write_prompt
from edge_preprocess.digest import Anomaly, AnomalyKind, DataQuality, EdgeDigest, NeighbourDigest, SliceDigest
from telemetry_sim.records import Severity
from telemetry_sim.topology import SliceId

_NUM_PRB = 51
_SLICE_COUNTS = (2, 3, 4, 5, 6, 8)
_SLICE_ODDS = (0.05, 0.2, 0.55, 0.1, 0.06, 0.04)

DrawTerms = Callable[[np.random.Generator, EdgeDigest], GoalTerms]
"""Makes up the goal of a random cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt with its completion."""

    prompt: str
    completion: str


def random_digest(rng: np.random.Generator) -> EdgeDigest:
    """A digest whose loads, budgets and efficiencies cover more than the scenarios do."""
    num_slices = int(rng.choice(_SLICE_COUNTS, p=_SLICE_ODDS))
    load = rng.dirichlet(np.full(num_slices, rng.uniform(0.7, 4.0))) * np.exp(rng.uniform(np.log(0.25), np.log(2.2)))
    cpu_load = rng.dirichlet(np.ones(num_slices)) * rng.uniform(0.05, 2.0)
    computes = rng.random(num_slices) < rng.choice([0.0, 0.3, 0.6])
    cpu_ghz = float(rng.uniform(5, 60))
    rows = tuple(
        _random_slice(rng, row, load[row], cpu_load[row] if computes[row] else 0.0, cpu_ghz)
        for row in range(num_slices)
    )
    return EdgeDigest(
        cell=1,
        start_s=0.0,
        end_s=10.0,
        num_prb=_NUM_PRB,
        prb_used=float(min(load.sum(), 1.0) * _NUM_PRB),
        edge_cpu_ghz=cpu_ghz,
        edge_utilisation=float(min(cpu_load.sum(), 1.0)),
        backhaul_mbps=1000.0,
        backhaul_delay_ms=float(np.exp(rng.uniform(np.log(1), np.log(60)))),
        slices=rows,
        neighbours=_random_neighbours(rng),
        anomalies=_random_anomalies(rng),
        quality=DataQuality(rows_received=1, rows_accepted=1, rows_quarantined=0),
    )


def random_terms(rng: np.random.Generator, digest: EdgeDigest) -> GoalTerms:
    """Random weights; now and then a floor or an energy goal."""
    num_slices = len(digest.slices)
    weight = rng.integers(1, 11, num_slices).astype(float)
    if rng.random() < 0.2:
        weight[rng.integers(num_slices)] *= rng.uniform(2.0, 10.0)
    floor = np.where(rng.random(num_slices) < rng.choice([0.0, 0.3], p=[0.8, 0.2]), rng.uniform(0.8, 1.0), 0.0)
    return GoalTerms(
        weight=weight,
        floor=floor,
        target=rng.choice((0.85, 0.9, 0.95, 0.97, 0.99, 0.999), num_slices),
        delay_budget_ms=np.array([row.delay_budget_ms for row in digest.slices]),
        ue_rate_cap_mbps=np.full(num_slices, np.inf),
        energy_weight=float(rng.choice([0.0, rng.uniform(0.1, 1.0)], p=[0.85, 0.15])),
    )


def random_example(rng: np.random.Generator, draw_terms: DrawTerms = random_terms) -> Example:
    """A random digest and goal with the optimiser's plan."""
    digest = random_digest(rng)
    terms = draw_terms(rng, digest)
    prompt = write_prompt(digest, terms)
    return Example(prompt=prompt.text, completion=write_answer(plan_cell(digest, terms), prompt.order))


def _random_slice(rng: np.random.Generator, row: int, load: float, cpu_load: float, cpu_ghz: float) -> SliceDigest:
    kbps_per_prb = float(np.exp(rng.uniform(np.log(80), np.log(2500))))
    forecast = float(load * _NUM_PRB * kbps_per_prb)
    demand = forecast * float(np.exp(rng.normal(0.0, 0.2)))
    megacycles = float(np.exp(rng.uniform(np.log(0.5), np.log(500)))) if cpu_load > 0 else 0.0
    tasks = cpu_load * cpu_ghz * 1e3 / megacycles if megacycles else 0.0
    budget_ms = float(np.exp(rng.uniform(np.log(4), np.log(2000))))
    return SliceDigest(
        slice=SliceId(sst=row + 1, sd=row),
        num_devices=int(rng.integers(5, 200)),
        demand_kbps=demand,
        served_kbps=demand,
        in_time_ratio=1.0,
        backlog_kbit=0.0,
        delay_p95_ms=float(min(budget_ms, rng.uniform(0.2, 1.2) * budget_ms)),
        delay_budget_ms=budget_ms,
        prb_used=0.0,
        kbps_per_prb=kbps_per_prb,
        packet_size_bits=float(np.exp(rng.uniform(np.log(400), np.log(12_000)))),
        forecast_demand_kbps=forecast,
        forecast_deviation_kbps=forecast * float(rng.uniform(0.0, 0.2)),
        tasks_per_s=tasks,
        task_megacycles=megacycles,
        task_deadline_ms=float(np.exp(rng.uniform(np.log(15), np.log(2000)))),
        forecast_tasks_per_s=tasks,
    )


def _random_neighbours(rng: np.random.Generator) -> tuple[NeighbourDigest, ...]:
    return tuple(
        NeighbourDigest(cell=cell, prb_utilisation=float(rng.random()), is_up=bool(rng.random() > 0.05))
        for cell in range(2, 2 + int(rng.integers(0, 4)))
    )


def _random_anomalies(rng: np.random.Generator) -> tuple[Anomaly, ...]:
    anomaly = Anomaly(kind=AnomalyKind.LOG, severity=Severity.MINOR, score=0.6, evidence="synthetic")
    return (anomaly,) * int(rng.choice([0, 1, 2, 3], p=[0.7, 0.15, 0.1, 0.05]))

"""What really happened: scores from the network's own counters, the same for every planner.

Shapes: T intervals, C cells, S slices, B delay bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from agent.errors import AgentInputInvalid
from agent.goal import GoalTerms
from agent.utility import Ratios, slice_worth
from telemetry_sim.records import DELAY_BIN_EDGES_MS, TelemetryFrame
from telemetry_sim.topology import Topology

PerCellSlice = Float64[NDArray[np.float64], "cells slices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalScore:
    """One interval of one run."""

    utility: float
    """Mean over cells of the slices' weighted worth, at most 1."""
    in_time: PerCellSlice
    """In-time bits over offered bits; NaN without demand."""
    tasks_in_time: PerCellSlice
    """NaN without tasks."""
    delay_counts: Int64[NDArray[np.int64], "slices bins"]
    jain: float
    """Jain's index of the devices' served-to-offered ratios. Source: Jain, Chiu, Hawe 1984."""
    energy_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScore:
    """A run's scores over all its intervals."""

    utility: float
    sla: tuple[float, ...]
    """Per slice: share of cell-intervals with demand in which the SLA held."""
    sla_mean: float
    """Over slices, each counted alike."""
    sla_by_priority: float
    """Over slices, weighted by their priority."""
    jain: float
    delay_p95_ms: tuple[float | None, ...]
    """Of what was served; None where nothing was. Upper edges of bins, so up to 12 % high."""
    delay_p99_ms: tuple[float | None, ...]
    energy_j: float
    utility_per_interval: tuple[float, ...]


def score_interval(frames: Sequence[TelemetryFrame], terms: Sequence[GoalTerms]) -> IntervalScore:
    """Scores of one interval's frames; raises AgentInputInvalid where the source has no cell counters."""
    slices = [frame.slices for frame in frames if frame.slices is not None]
    if not slices or len(slices) != len(frames):
        raise AgentInputInvalid("scores need cell-level counters in every frame; this telemetry has none")
    offered = np.sum([s.offered_bits for s in slices], axis=0)
    in_time = _ratio(np.sum([s.in_time_bits for s in slices], axis=0), offered)
    tasks_offered = np.sum([s.tasks_offered for s in slices], axis=0)
    tasks = _ratio(np.sum([s.tasks_in_time for s in slices], axis=0), tasks_offered)
    worth = [cell_utility(*ratios) for ratios in zip(in_time, tasks, terms, strict=True)]
    cells = [frame.cells for frame in frames if frame.cells is not None]
    return IntervalScore(
        utility=float(np.mean(worth)),
        in_time=in_time,
        tasks_in_time=tasks,
        delay_counts=np.sum([s.delay_counts for s in slices], axis=(0, 1)),
        jain=_jain(frames),
        energy_j=float(np.sum([c.energy_j for c in cells])) if cells else float("nan"),
    )


def cell_utility(in_time: Ratios, tasks_in_time: Ratios, terms: GoalTerms) -> Ratios:
    """Weighted worth of one cell, at most 1, given its slices' in-time ratios ([..., S]; NaN: nothing was offered)."""
    worth = slice_worth(
        np.nan_to_num(in_time, nan=1.0),
        np.nan_to_num(tasks_in_time, nan=1.0),
        (~np.isnan(tasks_in_time)).astype(float),
        terms,
    )
    utility: Ratios = worth.sum(axis=-1) / terms.weight.sum()
    return utility


def summarise(scores: Sequence[IntervalScore], topology: Topology) -> RunScore:
    """A run's scores; the first interval ran before any decision and is left out."""
    counted = scores[1:] or scores
    in_time = np.stack([s.in_time for s in counted])
    tasks = np.stack([s.tasks_in_time for s in counted])
    target = np.array([profile.in_time_target for profile in topology.slices])
    held = (in_time >= target) & (np.isnan(tasks) | (tasks >= target))
    has_demand = ~np.isnan(in_time)
    sla = np.where(
        has_demand.any(axis=(0, 1)), (held & has_demand).sum((0, 1)) / np.maximum(has_demand.sum((0, 1)), 1), 1.0
    )
    counts = np.sum([s.delay_counts for s in counted], axis=0)
    return RunScore(
        utility=float(np.mean([s.utility for s in counted])),
        sla=tuple(float(x) for x in sla),
        sla_mean=float(sla.mean()),
        sla_by_priority=float(np.average(sla, weights=[profile.weight for profile in topology.slices])),
        jain=float(np.mean([s.jain for s in counted])),
        delay_p95_ms=tuple(delay_quantile_ms(row, 0.95) for row in counts),
        delay_p99_ms=tuple(delay_quantile_ms(row, 0.99) for row in counts),
        energy_j=float(np.sum([s.energy_j for s in counted])),
        utility_per_interval=tuple(s.utility for s in scores),
    )


def delay_quantile_ms(counts: Int64[NDArray[np.int64], " bins"], quantile: float) -> float | None:
    """Upper edge of the bin in which the quantile lies; None without packets."""
    total = counts.sum()
    if total == 0:
        return None
    place = int(np.searchsorted(np.cumsum(counts), quantile * total))
    return float(DELAY_BIN_EDGES_MS[min(place + 1, len(DELAY_BIN_EDGES_MS) - 1)])


def _ratio(part: PerCellSlice, whole: PerCellSlice) -> PerCellSlice:
    return np.where(whole > 0, np.clip(part / np.maximum(whole, 1e-9), 0.0, 1.0), np.nan)


def _jain(frames: Sequence[TelemetryFrame]) -> float:
    size = 1 + max((int(f.devices.device_id.max()) for f in frames if len(f.devices.device_id)), default=0)
    offered, served = np.zeros(size), np.zeros(size)
    for frame in frames:
        np.add.at(offered, frame.devices.device_id, np.nan_to_num(frame.devices.offered_bits))
        np.add.at(served, frame.devices.device_id, np.nan_to_num(frame.devices.served_bits))
    ratio = np.clip(served[offered > 0] / offered[offered > 0], 0.0, 1.0)
    return float(ratio.sum() ** 2 / max(len(ratio) * (ratio**2).sum(), 1e-12)) if len(ratio) else 1.0

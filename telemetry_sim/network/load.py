"""Offered load over time: which slice surges when and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from telemetry_sim.network.state import Records, State
    from telemetry_sim.scenarios import LoadPlan

HORIZON_S = 3600
"""The load repeats after so long."""
_FACTOR_BOUNDS = (0.02, 50.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCurve:
    """Per whole second, cell and slice."""

    prb_share: NDArray[np.float32]
    """Offered load as a share of the cell's PRBs; seconds x cells x slices."""
    task_factor: NDArray[np.float32]
    """Factor on the task rates; seconds x cells x slices."""

    def prb_share_at(self, time_s: float) -> NDArray[np.float32]:
        """Cells x slices."""
        return np.asarray(self.prb_share[int(time_s) % HORIZON_S])

    def task_factor_at(self, time_s: float) -> NDArray[np.float32]:
        """Cells x slices."""
        return np.asarray(self.task_factor[int(time_s) % HORIZON_S])


def draw_load(plan: LoadPlan, *, num_cells: int, rng: np.random.Generator) -> LoadCurve:
    """The episodes of one run."""
    num_slices = len(plan.shares)
    share = np.empty((HORIZON_S, num_cells, num_slices), np.float32)
    tasks = np.empty_like(share)
    seconds = np.arange(HORIZON_S)
    for cell in range(num_cells):
        starts = _episode_starts(plan, rng)
        levels = _episode_levels(plan, len(starts), rng)
        task_levels = rng.uniform(*plan.tasks, size=(len(starts), num_slices))
        # A level holds until its episode ends, then moves to the next one's in a straight line.
        knots = np.stack((starts, np.append(starts[1:], HORIZON_S) - plan.ramp_s), axis=1).ravel()
        for s in range(num_slices):
            share[:, cell, s] = np.interp(seconds, knots, np.repeat(levels[:, s], 2))
            tasks[:, cell, s] = np.interp(seconds, knots, np.repeat(task_levels[:, s], 2))
    return LoadCurve(prb_share=share, task_factor=tasks)


def _episode_starts(plan: LoadPlan, rng: np.random.Generator) -> NDArray[np.float64]:
    starts = [0.0]
    while starts[-1] + plan.episode_s[1] + plan.ramp_s < HORIZON_S:
        starts.append(starts[-1] + float(rng.uniform(*plan.episode_s)) + plan.ramp_s)
    return np.array(starts)


def _episode_levels(plan: LoadPlan, num_episodes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Load shares per episode and slice; consecutive episodes surge in different slices."""
    num_slices = len(plan.shares)
    odds = np.array(plan.odds or (1.0,) * num_slices)
    levels = np.empty((num_episodes, num_slices))
    surging = -1
    for episode in range(num_episodes):
        chance = np.where((np.arange(num_slices) == surging) & (num_slices > 1), 0.0, odds)
        surging = int(rng.choice(num_slices, p=chance / chance.sum()))
        factors = rng.uniform(*plan.calm, size=num_slices)
        factors[surging] = rng.uniform(*plan.surge)
        parts = np.array(plan.shares) * factors
        levels[episode] = parts / parts.sum() * rng.uniform(plan.low, plan.high)
    return levels


def usual_prb_share(state: State) -> NDArray[np.float64]:
    """Share of a cell's PRBs that one device's source needs at factor 1, on average over the slice; cells x slices."""
    devices = state.devices
    num_rows = len(state.rows)
    attached = devices["cell"] >= 0
    num_slices = num_rows // len(state.cells)
    row = devices["cell"][attached].astype(np.int64) * num_slices + devices["slice"][attached]
    bits_per_ms = devices["packets_per_s"][attached] * devices["size_bits"][attached] / 1000.0
    prb = bits_per_ms / np.maximum(devices["bits_per_prb_ms"][attached], 1e-9)
    share = np.bincount(row, prb, minlength=num_rows) / np.maximum(np.bincount(row, minlength=num_rows), 1)
    return np.asarray(share.reshape(len(state.cells), -1) / state.cells["num_prb"][:, None])


def num_attached(state: State) -> NDArray[np.int64]:
    """Devices per cell and slice."""
    return attached_counts(state).reshape(len(state.cells), -1)


def attached_counts(state: State) -> NDArray[np.int64]:
    """Devices per row."""
    counts = np.zeros(len(state.rows), np.int64)
    _count_attached(state.devices, len(state.rows) // len(state.cells), counts)
    return counts


@kernel
def _count_attached(devices: Records, num_slices: int, counts: NDArray[np.int64]) -> None:
    for device in range(devices.shape[0]):
        cell = devices[device].cell
        if cell >= 0:
            counts[int(cell) * num_slices + int(devices[device].slice)] += 1


def demand_factor(
    wanted: NDArray[np.float32], usual: NDArray[np.float64], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Factor on the sources' rates that offers the wanted load in each cell, however many devices share it."""
    need = usual * counts
    factor = np.where(need > 0.0, wanted / np.maximum(need, 1e-12), 1.0)
    return np.asarray(np.clip(factor, *_FACTOR_BOUNDS))

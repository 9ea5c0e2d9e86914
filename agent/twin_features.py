"""What the fitted twin looks at: plans in one cell, each under several possible demands.

Shapes: P plans, K futures, S slices, F features. Every feature is about one slice and is clipped to a few units, so
that digests beyond what the twin was fitted on are judged like the nearest that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray

from agent.cell_plan import OFFLOAD_PCT, CellPlan, SlicePlan
from agent.goal import PerSlice
from agent.utility import LENDING_YIELD, CellLoad, cloud_ratio, compute_ratio, in_time_fraction, lend_idle
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

PerFuture = Float64[NDArray[np.float64], "futures slices"]
PerPlan = Float64[NDArray[np.float64], "plans futures slices"]
EachSlice = Float64[NDArray[np.float64], "plans 1 slices"]
Features = Float64[NDArray[np.float64], "plans futures slices features"]

_MOST = 6.0
_MOST_LOAD_PCT = 300.0
_SCHEDULERS = tuple(Scheduler)
_DEVICE_HZ = 1e9


class CellFeatures:
    """The features of one cell; what the plan has no part in is reckoned once."""

    def __init__(self, digest: EdgeDigest, load: CellLoad, target: PerSlice) -> None:
        """`target` is the part that each slice's SLA wants in time ([S])."""
        self._digest = digest
        self._load = load
        self._strictness = -np.log10(np.maximum(1.0 - target, 1e-4))
        self._shape = load.packets_per_s.shape
        self._devices = np.array([float(row.num_devices) for row in digest.slices])
        self._demand_pct = np.minimum(load.load_pct, _MOST_LOAD_PCT)
        self._fair_pct = fair_pool(self._demand_pct, np.maximum(self._devices, 0.01))
        self._idle_pct = np.maximum(100.0 - self._demand_pct.sum(axis=1, keepdims=True), 0.0)
        self._of_demand = _stack(self._demand_features(), (1, *self._shape))
        has_tasks = bool((load.tasks_per_s > 0).any())
        self._of_tasks = _stack(self._task_features(), (1, *self._shape)) if has_tasks else None

    def radio(self, plans: Sequence[CellPlan]) -> Features:
        """What decides how many of each slice's packets are in time."""
        own, demand, is_pooled = shares_of(plans), self._demand_pct, is_pool(plans)
        lent, lent_in_full = (
            np.where(is_pooled, self._fair_pct, lend_idle(own, demand, part_kept=part_kept))
            for part_kept in (LENDING_YIELD, 1.0)
        )
        moving = (
            np.log1p(own),
            (lent - demand) / 100.0,
            (lent_in_full - demand) / 100.0,
            lent_in_full / np.maximum(demand, 0.5) - 1.0,
            *self._in_time(np.stack((lent, lent_in_full, np.minimum(lent_in_full + self._idle_pct, 100.0)))),
        )
        shape = (len(plans), *self._shape)
        parts = (self._of_demand, _stack(moving, shape), _modes(plans, is_pooled))
        return np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)

    def tasks(self, plans: Sequence[CellPlan], radio: Features) -> Features | None:
        """What decides how many of each slice's tasks are in time; None where nothing computes."""
        if self._of_tasks is None:
            return None
        edge = _each_slice(plans, lambda part: OFFLOAD_PCT[part.tier][1] / 100.0)
        cloud = _each_slice(plans, lambda part: OFFLOAD_PCT[part.tier][2] / 100.0)
        cpu = _each_slice(plans, lambda part: float(part.compute_pct))
        demand = self._load.task_load_pct * edge
        moving = (
            _log_odds(self._task_ratio(edge, cloud, cpu)),
            edge,
            cloud,
            np.log1p(demand),
            demand.sum(axis=-1, keepdims=True) / 100.0,
            (lend_idle(cpu, demand) - demand) / 100.0,
            (lend_idle(cpu, demand, part_kept=1.0) - demand) / 100.0,
            np.log1p(cpu),
        )
        shape = (len(plans), *self._shape)
        known = np.broadcast_to(self._of_tasks, (*shape, self._of_tasks.shape[-1]))
        return np.concatenate([radio, known, _stack(moving, shape)], axis=-1)

    def _task_ratio(self, edge: EachSlice, cloud: EachSlice, cpu: EachSlice) -> EachSlice:
        """In-time ratio of each slice's tasks by the queue model, with these parts of them at edge and cloud."""
        digest, load = self._digest, self._load
        at_edge = compute_ratio(load, lend_idle(cpu, load.task_load_pct * edge), edge)
        # A device's own processor is taken as 1 GHz: a task is in time when its cycles fit the deadline.
        own_s = np.array([row.task_megacycles for row in digest.slices]) * 1e6 / _DEVICE_HZ
        on_device = (own_s <= load.task_budget_s).astype(float)
        ratio: EachSlice = edge * at_edge + cloud * cloud_ratio(digest, load) + (1.0 - edge - cloud) * on_device
        return ratio

    def _demand_features(self) -> tuple[PerFuture | PerSlice | float, ...]:
        digest, load, demand = self._digest, self._load, self._demand_pct
        rows = digest.slices
        full, budget_s = load.packets_per_s_full, _own_budget_s(digest)
        total = demand.sum(axis=1, keepdims=True)
        more_urgent = (demand[:, None, :] * (budget_s[None, :] < budget_s[:, None])).sum(axis=-1)
        cell_kbit_per_s = np.array([row.kbps_per_prb for row in rows]) * digest.num_prb
        backlog = np.array([row.backlog_kbit for row in rows]) / np.maximum(cell_kbit_per_s * budget_s, 1e-6)
        return (
            np.log1p(demand),
            total / 100.0,
            _log_odds(np.clip(self._fair_pct / np.maximum(demand, 1e-6), 0.0, 1.0)),
            self._in_time(100.0 - np.minimum(more_urgent, 99.0)),
            _log_odds(np.minimum(100.0 / np.maximum(total, 1e-6), 1.0)),
            more_urgent / 100.0,
            np.log10(budget_s),
            np.log1p(load.packets_per_s * budget_s),
            np.log10(np.maximum(full, 1e-3) * budget_s),
            np.log1p(self._devices),
            self._devices / max(self._devices.sum(), 1.0),
            demand / np.maximum(self._devices, 0.5) / 10.0,
            load.spread,
            _log_odds(np.array([row.in_time_ratio for row in rows])),
            np.log1p(backlog),
            float(digest.is_up),
            len(digest.anomalies) / 4.0,
            self._strictness,
        )

    def _task_features(self) -> tuple[PerSlice | float, ...]:
        digest, load = self._digest, self._load
        rows = digest.slices
        deadline_ms = np.array([row.task_deadline_ms for row in rows])
        run_ms = 1e9 * np.array([row.task_megacycles for row in rows]) / max(digest.edge_cpu_ghz * 1e9, 1.0)
        return (
            np.log10(deadline_ms / 1000.0),
            np.log10(np.maximum([row.delay_p95_ms for row in rows], 0.1) / deadline_ms),
            np.log10(np.maximum(run_ms, 1e-3) / deadline_ms),
            np.log10(1000.0 * _own_budget_s(digest) / deadline_ms),
            _log_odds(cloud_ratio(digest, load)),
            np.log10(max(digest.backhaul_delay_ms, 0.1) / deadline_ms),
            digest.backhaul_utilisation,
            digest.edge_utilisation,
            _log_odds(np.array([row.tasks_in_time_ratio for row in rows])),
            np.array([row.in_time_ratio for row in rows]),
            np.log1p(load.tasks_per_s),
        )

    def _in_time(self, share_pct: PerFuture | PerPlan) -> PerFuture | PerPlan:
        load = self._load
        service = load.packets_per_s_full * np.maximum(share_pct, 0.01) / 100.0
        return _log_odds(in_time_fraction(load.packets_per_s, service, _own_budget_s(self._digest)))


def shares_of(plans: Sequence[CellPlan]) -> EachSlice:
    """Guaranteed percents."""
    return _each_slice(plans, lambda part: float(part.min_pct))


def is_pool(plans: Sequence[CellPlan]) -> Bool[NDArray[np.bool_], "plans 1 1"]:
    """Whether nothing is guaranteed, so that the network schedules its PRBs as one pool."""
    return np.array([not any(part.min_pct for part in plan.slices) for plan in plans])[:, None, None]


def _each_slice(plans: Sequence[CellPlan], told: Callable[[SlicePlan], float]) -> EachSlice:
    return np.array([[told(part) for part in plan.slices] for plan in plans])[:, None]


def _modes(plans: Sequence[CellPlan], is_pooled: Bool[NDArray[np.bool_], "plans 1 1"]) -> Features:
    """Who runs each slice, one column a scheduler; a pool is run by its first slice's, in columns of its own."""
    which = np.array([[_SCHEDULERS.index(part.scheduler) for part in plan.slices] for plan in plans])
    which = np.where(is_pooled[..., 0], which[:, :1] + len(_SCHEDULERS), which)
    modes: Features = np.eye(2 * len(_SCHEDULERS))[which][:, None]
    return modes


def _stack(columns: tuple[PerFuture | PerPlan | PerSlice | float, ...], shape: tuple[int, ...]) -> Features:
    stacked: Features = np.empty((*shape, len(columns)))
    for place, column in enumerate(columns):
        stacked[..., place] = column
    return np.clip(np.nan_to_num(stacked, copy=False), -_MOST, _MOST, out=stacked)


def fair_pool(demand_pct: PerFuture, devices: PerSlice) -> PerFuture:
    """What each slice gets ([K, S]) of a hundred percent shared max-min fairly among all devices.

    Source: Bertsekas and Gallager, Data Networks, 1992, section 6.5.2: the level rises until the cell is full.
    """
    order = np.argsort(demand_pct / devices, axis=1)
    sorted_demand = np.take_along_axis(demand_pct, order, axis=1)
    sorted_devices = devices[order]
    left = 100.0 - np.cumsum(sorted_demand, axis=1) + sorted_demand
    waiting = sorted_devices.sum(axis=1, keepdims=True) - np.cumsum(sorted_devices, axis=1) + sorted_devices
    level = np.where(sorted_demand > sorted_devices * left / waiting, left / waiting, np.inf)
    # The first slice that can't be satisfied sets the level of all that ask for more.
    first = np.argmax(np.isfinite(level), axis=1)
    settled = level[np.arange(len(level)), first][:, None]
    got: PerFuture = np.minimum(demand_pct, devices * settled)
    return got


def _own_budget_s(digest: EdgeDigest) -> PerSlice:
    """The budgets that the network itself keeps to, whatever a goal asks."""
    return np.array([row.delay_budget_ms for row in digest.slices]) / 1000.0


def _log_odds(ratio: PerFuture | PerPlan | PerSlice) -> PerFuture | PerPlan:
    kept = np.clip(ratio, 0.003, 0.997)
    odds: PerFuture | PerPlan = np.log(kept / (1.0 - kept))
    return odds

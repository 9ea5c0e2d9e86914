"""How likely each slice misses its in-time target in the next interval.

A logistic model of what the edge knows at an interval's end. Its weights were fitted by `benchmarks/sla_risk.py --fit`
on simulated runs of all scenarios, most of them under shares that change at random, with seeds from 100,000 on.
Shapes: C cells, S slices, G = C * S groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_preprocess.estimates import CellEstimates, SliceEstimates
    from edge_preprocess.windows import PerGroup
    from telemetry_sim.topology import Topology

PerGroupFeature = Float64[NDArray[np.float64], "groups features"]

FEATURES = (
    "constant",
    "is_missed",
    "shortfall",
    "usual_shortfall",
    "share_missed",
    "delay_over_budget",
    "growth",
    "need",
    "need_of_cell",
    "utilisation",
    "backlog",
)
WEIGHTS = (-0.3834, 1.2709, 0.6969, -0.2608, 0.8107, 0.1551, 1.5788, 0.5917, -0.1701, -0.0891, 1.8838)
_USUAL_WEIGHT = 0.3
_MISSED_WEIGHT = 0.1
_SHARE_AT_FIRST = 0.4
_SLACK = 1e-3
"""Keeps a target of 1 and a perfect interval apart from infinity."""


class SlaForecaster:
    """Remembers how often and how far each slice has missed its target of late."""

    def __init__(self, topology: Topology) -> None:
        self._num_cells = len(topology.cells)
        self._target: PerGroup = np.tile([profile.in_time_target for profile in topology.slices], self._num_cells)
        self._budget_ms: PerGroup = np.tile([profile.delay_budget_ms for profile in topology.slices], self._num_cells)
        self._num_prb = np.array([cell.num_prb for cell in topology.cells], dtype=np.float64)
        self._usual: PerGroup = np.full(len(self._target), np.nan)
        self._share_missed: PerGroup = np.full(len(self._target), _SHARE_AT_FIRST)
        self.features: PerGroupFeature = np.zeros((len(self._target), len(FEATURES)))
        """Of the latest interval."""

    def learn(self, slices: SliceEstimates, cells: CellEstimates, forecast_kbps: PerGroup) -> None:
        """Take an interval's figures and the demand expected next."""
        missed = self.is_missed(slices.in_time_ratio)
        shortfall = np.log((1.0 - slices.in_time_ratio + _SLACK) / (1.0 - self._target + _SLACK))
        usual = np.where(np.isnan(self._usual), shortfall, self._usual)
        self._usual = usual + _USUAL_WEIGHT * (shortfall - usual)
        self._share_missed = self._share_missed + _MISSED_WEIGHT * (missed - self._share_missed)
        num_slices = len(self._target) // self._num_cells
        num_prb = np.repeat(self._num_prb, num_slices)
        need = forecast_kbps / np.maximum(slices.kbps_per_prb, 1e-6) / num_prb
        need_of_cell = need.reshape(self._num_cells, num_slices).sum(axis=1)
        in_flight_kbit = slices.demand_kbps * self._budget_ms / 1000.0
        columns = (
            np.ones(len(missed)),
            missed.astype(np.float64),
            shortfall,
            self._usual,
            self._share_missed,
            np.clip(np.log(np.maximum(slices.delay_p95_ms, 1e-2) / self._budget_ms), -5.0, 5.0),
            np.clip(np.log((forecast_kbps + 1.0) / (slices.demand_kbps + 1.0)), -2.0, 2.0),
            np.log(np.minimum(need, 1e6) + 0.01),
            np.repeat(np.log(np.minimum(need_of_cell, 1e6) + 0.01), num_slices),
            np.repeat(np.minimum(cells.prb_used / self._num_prb, 1.0), num_slices),
            np.clip(np.log1p(slices.backlog_kbit / np.maximum(in_flight_kbit, 1e-3)), 0.0, 6.0),
        )
        self.features = np.column_stack(columns)

    def is_missed(self, in_time_ratio: PerGroup) -> NDArray[np.bool_]:
        """Where the slice's target is missed."""
        return np.asarray(in_time_ratio < self._target)

    def risk(self) -> PerGroup:
        """Chance, 0-1, that the next interval misses the target while the policy in force stays."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.features @ np.array(WEIGHTS))))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything needed to go on after a restart."""
        return {"usual": self._usual, "share_missed": self._share_missed, "features": self.features}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from `state`."""
        self._usual, self._share_missed, self.features = (
            np.array(state[name], dtype=np.float64) for name in ("usual", "share_missed", "features")
        )

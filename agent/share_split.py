"""Dividing a cell's hundred percent among slices: exactly for hard shares, then refined for lent ones.

Shapes: S slices, X = 101 shares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from agent.cell_plan import largest_remainder
from agent.goal import PerSlice
from agent.utility import (
    BURSTINESS,
    CURVATURE,
    DECILES,
    FLOOR_PENALTY,
    LENDING_YIELD,
    SLA_SLOPE,
    TIGHT_BURSTINESS,
    TIGHT_S,
)
from telemetry_sim.compiled import njit

WorthTable = Float64[NDArray[np.float64], "slices shares"]
CellTable = Float64[NDArray[np.float64], "8 slices"]
"""Rows: arrivals and full service per second, budget in seconds, weight, contract weight, floor, target, spread."""
Shares = Int64[NDArray[np.int64], " slices"]
Rows = Int64[NDArray[np.int64], " free"]
Held = Mapping[int, int]
"""Shares that are settled, by row."""
NONE_HELD: Held = MappingProxyType({})

_WORTH_STEP = 1e-5
"""Worth closer than this is equal, so that labels do not follow rounding noise."""
_NEVER = 1e15
"""In steps of worth: no sum of others makes up for it, and sums stay exact."""
_MOVES = (16, 8, 4, 2, 1)


def best_split(worth: WorthTable, *, spare_by: PerSlice, held: Held = NONE_HELD) -> tuple[int, ...]:
    """The integer shares (sum exactly 100) of the greatest total worth, by dynamic programming over the budget.

    `worth[s, x]` is slice s's worth at x percent. What the optimum leaves unused goes out in proportion to `spare_by`.
    Slices in `held` keep their share; where all are held the sum may stay below 100.
    """
    steps = np.round(worth / _WORTH_STEP)
    for row, share in held.items():
        steps[row, np.arange(steps.shape[1]) != share] = -_NEVER
    shares = _divide(steps)
    spare_for = [0.0 if row in held else max(float(by), 1e-9) for row, by in enumerate(spare_by)] if held else spare_by
    if len(held) == len(shares):
        return tuple(int(share) for share in shares)
    spare = largest_remainder(tuple(spare_for), 100 - int(shares.sum()))
    return tuple(int(share + extra) for share, extra in zip(shares, spare, strict=True))


def refine_lent(
    shares: tuple[int, ...],
    *,
    arrival_per_s: PerSlice,
    service_per_s: PerSlice,
    budget_s: PerSlice,
    weight: PerSlice,
    contract_weight: PerSlice,
    floor: PerSlice,
    target: PerSlice,
    spread: PerSlice,
    held: Held = NONE_HELD,
) -> tuple[int, ...]:
    """Shares improved by moving points between slices while total worth grows, idle guarantees being lent.

    `service_per_s` is each slice's rate with the whole cell; slices in `held` keep their share. Steepest ascent in
    moves of 16 down to 1 point, then of any size, until no transfer between two slices gains: exact for two slices.
    """
    refined = _climb(
        np.array(shares, dtype=np.int64),
        np.stack((arrival_per_s, service_per_s, budget_s, weight, contract_weight, floor, target, spread)),
        np.array([row for row in range(len(shares)) if row not in held], dtype=np.int64),
        np.array(_MOVES),
    )
    return tuple(int(share) for share in refined)


@njit
def _divide(steps: WorthTable) -> Shares:
    """Shares of the greatest sum of `steps[s, share]`; among equals the smallest shares from the last slice on."""
    num_slices, num_shares = steps.shape
    best = np.zeros(num_shares)
    choice = np.zeros((num_slices, num_shares), dtype=np.int64)
    for row in range(num_slices):
        reached = np.empty(num_shares)
        for budget in range(num_shares):
            top, at = best[budget] + steps[row, 0], 0
            for share in range(1, budget + 1):
                total = best[budget - share] + steps[row, share]
                if total > top:
                    top, at = total, share
            reached[budget], choice[row, budget] = top, at
        best = reached
    shares = np.zeros(num_slices, dtype=np.int64)
    budget = num_shares - 1
    for row in range(num_slices - 1, -1, -1):
        shares[row] = choice[row, budget]
        budget -= shares[row]
    return shares


@njit
def _climb(shares: Shares, cell: CellTable, free: Rows, moves: Int64[NDArray[np.int64], " moves"]) -> Shares:
    """Shares that no transfer of any size between two free slices improves; exact for two slices."""
    best = _lent_worth(shares, cell)
    stuck = False
    while not stuck:
        for move in moves:
            while True:
                giver, taker, _, top = _best_transfer(shares, cell, free, move, move, best)
                if giver < 0:
                    break
                shares[giver] -= move
                shares[taker] += move
                best = top
        # Worth is not concave under lending, so a small step may be blocked where a long one pays.
        giver, taker, size, best = _best_transfer(shares, cell, free, 1, 100, best)
        stuck = giver < 0
        if not stuck:
            shares[giver] -= size
            shares[taker] += size
    return shares


@njit
def _best_transfer(
    shares: Shares, cell: CellTable, free: Rows, least: int, most: int, best: float
) -> tuple[int, int, int, float]:
    """Giver, taker, size and worth of the best transfer of `least` to `most` points; giver -1 where none gains."""
    giver, taker, size, top = -1, -1, 0, best + _WORTH_STEP
    for i in free:
        for j in free:
            if i == j:
                continue
            for points in range(least, min(most, shares[i]) + 1):
                shares[i] -= points
                shares[j] += points
                worth = _lent_worth(shares, cell)
                shares[i] += points
                shares[j] -= points
                if worth > top:
                    giver, taker, size, top = i, j, points, worth
    return giver, taker, size, top if giver >= 0 else best


@njit
def _lent_worth(shares: Shares, cell: CellTable) -> float:
    """Compiled twin of `utility.lend_idle`, `in_time_fraction` and `slice_worth` together; a test compares them."""
    arrival, service, budget_s, weight, contract, floor, target, spread = cell
    idle, claims = 100.0, 0.0
    for s in range(len(shares)):
        load = 100.0 * arrival[s] / max(service[s], 1e-9)
        idle -= min(float(shares[s]), load)
        if load > shares[s]:
            claims += max(float(shares[s]), 1.0)
    idle = max(idle, 0.0)
    total = 0.0
    for s in range(len(shares)):
        load = 100.0 * arrival[s] / max(service[s], 1e-9)
        usable = float(shares[s])
        if load > usable:
            lent = LENDING_YIELD * idle * max(usable, 1.0) / max(claims, 1e-9)
            usable += min(lent, load - usable)
        for decile in DECILES:
            ratio = _in_time(arrival[s] * math.exp(decile * spread[s]), service[s] * usable / 100.0, budget_s[s])
            total += _worth(ratio, weight[s], contract[s], target[s], floor[s]) / len(DECILES)
    return total


@njit
def _worth(ratio: float, weight: float, contract_weight: float, target: float, floor: float) -> float:
    credit = 1.0 - (target - ratio) / (SLA_SLOPE * max(1.0 - target, 1e-3))
    served = math.log1p(CURVATURE * ratio) / math.log1p(CURVATURE)
    worth = 0.5 * (weight * served + contract_weight * min(max(credit, 0.0), 1.0))
    if floor > 0.0:
        worth -= FLOOR_PENALTY * weight * max(floor - ratio, 0.0) / floor
    return worth


@njit
def _in_time(arrival: float, service: float, budget_s: float) -> float:
    if arrival <= 0.0:
        return 1.0
    if service <= 0.0:
        return 0.0
    places = max(service * budget_s / (TIGHT_BURSTINESS if budget_s < TIGHT_S else BURSTINESS), 1.0)
    load = arrival / service
    if abs(load - 1.0) < 1e-9:
        blocked = 1.0 / (places + 1.0)
    elif load < 1.0:
        blocked = (1.0 - load) * load**places / (1.0 - load ** (places + 1.0))
    else:
        blocked = (1.0 - 1.0 / load) / (1.0 - load ** -(places + 1.0))
    return min(max(1.0 - blocked, 0.0), 1.0)

"""What many episodes say of the model: its bars, each with what was measured, and the best known of every episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.planner import Source
from agent.report.figures import Figure, figure

TRIVIAL = ("uniform", "proportional", "proportional_fair", "edf")
"""Planners that any network has."""
_TOLERANCE = 0.01
"""Of utility: less is not called worse."""

Row = dict[str, Any]
Rows = Mapping[str, Sequence[Row]]


def best_known(rows: Rows) -> Float64[NDArray[np.float64], " episodes"]:
    """Utility of the best planner of each episode, told afterwards: a bound from below on what could be had."""
    best: Float64[NDArray[np.float64], " episodes"] = np.max([_of(found, "utility") for found in rows.values()], axis=0)
    return best


def best_trivial(rows: Rows) -> Float64[NDArray[np.float64], " episodes"]:
    """The same among the planners that any network has."""
    best: Float64[NDArray[np.float64], " episodes"] = np.max([_of(rows[name], "utility") for name in TRIVIAL], axis=0)
    return best


def share_not_below(
    utility: Float64[NDArray[np.float64], " episodes"],
    bar: Float64[NDArray[np.float64], " episodes"],
    tolerance: float = 1e-9,
) -> float:
    """Percent of the episodes in which a planner is not below a bar by more than a tolerance."""
    return 100.0 * float(np.mean(utility >= bar - tolerance))


def bench_figures(rows: Rows) -> list[Figure]:
    """Bars for the model in the loop, in episodes paired by scenario and seed; one without a target is only told."""
    utility = {name: _of(found, "utility") for name, found in rows.items()}
    missed = {name: 1.0 - float(_of(found, "sla").mean()) for name, found in rows.items()}
    cost = {name: float(_of(found, "decision_ms").mean()) for name, found in rows.items()}
    raw, gated, trivial = utility["llm_raw"], utility["llm_gated"], best_trivial(rows)
    dispatched = max(sum(row["num_dispatched"] for row in rows["llm_gated"]), 1)
    fallback = sum(row["sources"].get(Source.FALLBACK, 0) for row in rows["llm_gated"])
    gated_near = share_not_below(gated, trivial, _TOLERANCE)
    missed_to = {name: _ratio(missed["llm_raw"], share) for name, share in missed.items()}
    not_below = "episodes not below the best of uniform, proportional, PF and EDF"
    return [
        figure(f"llm_raw: {not_below}, %", share_not_below(raw, trivial), 90.0),
        figure(f"llm_gated: {not_below} by more than {_TOLERANCE}, %", gated_near, 100.0),
        figure("llm_raw: SLAs missed, to PF's", missed_to["proportional_fair"], 0.5, at_most=True),
        figure(
            "llm_raw: SLAs missed, to the optimiser's",
            _ratio(missed["llm_raw"], missed["optimiser"]),
            1.0,
            at_most=True,
        ),
        figure("llm_raw: utility, to MPC's", _ratio(raw.mean(), utility["mpc"].mean()), 0.97),
        figure("llm_raw: time of a decision, to MPC's", _ratio(cost["llm_raw"], cost["mpc"]), 0.05, at_most=True),
        figure("llm_raw: utility, to the optimiser's", _ratio(raw.mean(), utility["optimiser"].mean()), 1.0),
        figure("llm_raw: utility, to the best known with hindsight", _ratio(raw.mean(), best_known(rows).mean())),
        figure("llm_gated: plans that are the fallback's, %", 100.0 * fallback / dispatched, 10.0, at_most=True),
    ]


def _of(found: Sequence[Row], name: str) -> Float64[NDArray[np.float64], " episodes"]:
    return np.array([row[name] for row in found], dtype=float)


def _ratio(mine: float, theirs: float) -> float:
    return float(mine) / max(float(theirs), 1e-9)

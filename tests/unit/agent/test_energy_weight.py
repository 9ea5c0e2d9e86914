"""Under an energy goal the power is lowered only where that saves more than it costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.prompting import write_prompt
from agent.utility import worthwhile_energy_weight
from edge_preprocess.digest import EdgeDigest
from tests.agent_stage import random_case

MACRO_W, SMALL_W = 315.0, 158.0


def case(power_w: float, weight: float, *, floor: float = 0.0, step_db: int = 0) -> tuple[EdgeDigest, GoalTerms]:
    """A calm cell that draws so much, edge node included."""
    digest, terms = random_case(3, num_slices=4)
    rows = tuple(
        row.model_copy(update={"forecast_demand_kbps": 0.01 * row.kbps_per_prb * digest.num_prb})
        for row in digest.slices
    )
    given = {"slices": rows, "energy_w": power_w, "edge_cpu_ghz": 10.0, "edge_utilisation": 0.2}
    floors = np.full(len(rows), floor)
    return (
        digest.model_copy(update={**given, "tx_power_step_db": step_db}),
        replace(terms, energy_weight=weight, floor=floors),
    )


@pytest.mark.parametrize(
    ("power_w", "weight", "floor", "pays"),
    [
        (MACRO_W, 0.5, 0.0, True),
        (MACRO_W, 0.2, 0.0, False),
        (MACRO_W, 0.5, 0.8, False),
        (MACRO_W, 0.8, 0.8, True),
        (SMALL_W, 1.0, 0.0, False),
        (0.0, 0.2, 0.0, True),
    ],
)
def test_power_is_lowered_where_half_of_what_is_radiated_is_worth_it(
    power_w: float, weight: float, floor: float, pays: bool
) -> None:
    digest, terms = case(power_w, weight, floor=floor)

    assert worthwhile_energy_weight(digest, terms) == (weight if pays else 0.0)
    assert (plan_cell(digest, terms).tx_power_step_db < 0) is pays
    assert f" save={round(100 * weight) if pays else 0} " in write_prompt(digest, terms).text.splitlines()[0]


def test_a_power_that_was_lowered_is_not_taken_for_a_small_cells() -> None:
    fixed_w = 130.0 + 10.0 * 1.6
    lowered_w = fixed_w + (MACRO_W - fixed_w) * 10**-0.6

    assert worthwhile_energy_weight(*case(lowered_w, 0.5)) == 0.0
    assert worthwhile_energy_weight(*case(lowered_w, 0.5, step_db=-6)) == 0.5

"""Laws of the queue model and of what a plan is worth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.utility import (
    BURSTINESS,
    CONTRACT_PART,
    DECILES,
    LENDING_YIELD,
    TIGHT_BURSTINESS,
    TIGHT_S,
    contract_weight,
    in_time_fraction,
    lend_idle,
    service_worth,
    sla_credit,
)

rates = st.floats(0.01, 1e4)
budgets_s = st.floats(1e-3, 2.0)
targets = st.floats(0.5, 0.9999)
percents = st.lists(st.floats(0.0, 300.0), min_size=2, max_size=8)


def served(arrival: float, service: float, budget_s: float) -> float:
    return float(in_time_fraction(np.array(arrival), np.array(service), np.array(budget_s)))


def places(service: float, budget_s: float) -> float:
    return service * budget_s / (TIGHT_BURSTINESS if budget_s < TIGHT_S else BURSTINESS)


def worth(in_time: np.ndarray, target: float) -> np.ndarray:
    return 0.5 * (service_worth(in_time) + sla_credit(in_time, np.array(target)))


@given(load=st.floats(0.05, 4.0), num_places=st.integers(1, 60), budget_s=budgets_s)
def test_in_time_fraction_is_that_of_a_finite_queue(load: float, num_places: int, budget_s: float) -> None:
    burstiness = TIGHT_BURSTINESS if budget_s < TIGHT_S else BURSTINESS
    service = num_places * burstiness / budget_s
    states = [load**state for state in range(num_places + 1)]

    assert served(load * service, service, budget_s) == pytest.approx(1.0 - states[-1] / sum(states), abs=1e-9)


@given(arrival=rates, service=rates, more=rates, budget_s=budgets_s)
def test_more_service_never_serves_less(arrival: float, service: float, more: float, budget_s: float) -> None:
    assert served(arrival, service + more, budget_s) >= served(arrival, service, budget_s) - 1e-9


@given(arrival=rates, more=rates, service=rates, budget_s=budgets_s)
def test_more_arrivals_are_never_served_better(arrival: float, more: float, service: float, budget_s: float) -> None:
    assert served(arrival + more, service, budget_s) <= served(arrival, service, budget_s) + 1e-9


@given(arrival=st.floats(0.0, 1e9), service=st.floats(0.0, 1e9), budget_s=st.floats(1e-6, 1e4))
def test_in_time_fraction_is_a_ratio(arrival: float, service: float, budget_s: float) -> None:
    assert 0.0 <= served(arrival, service, budget_s) <= 1.0


@given(service=rates, budget_s=budgets_s, step=st.floats(1e-10, 1e-6))
def test_in_time_fraction_is_continuous_where_load_is_one(service: float, budget_s: float, step: float) -> None:
    at_one = served(service, service, budget_s)
    slack = 1e-5 * max(places(service, budget_s), 1.0)

    assert served(service * (1.0 - step), service, budget_s) == pytest.approx(at_one, abs=slack)
    assert served(service * (1.0 + step), service, budget_s) == pytest.approx(at_one, abs=slack)


def test_no_demand_is_in_time_and_no_service_is_late() -> None:
    assert served(0.0, 0.0, 0.1) == 1.0
    assert served(5.0, 0.0, 0.1) == 0.0


@given(ratio=st.floats(0.0, 1.0), more=st.floats(0.0, 1.0), target=targets)
def test_satisfaction_grows_with_the_ratio(ratio: float, more: float, target: float) -> None:
    low, high = worth(np.array([ratio, min(ratio + more, 1.0)]), target)

    assert high >= low - 1e-12


@given(target=targets)
def test_satisfaction_runs_from_nothing_to_one(target: float) -> None:
    none, met, whole = worth(np.array([0.0, target, 1.0]), target)

    # Where the target is so lax that its fading zone reaches zero service, some credit is left.
    assert none == pytest.approx(0.5 * max(0.0, 1.0 - target / (4.0 * (1.0 - target))), abs=1e-3) or none < 0.5
    assert whole == pytest.approx(1.0)
    assert met >= 0.5


@given(weights=st.lists(st.floats(0.1, 100.0), min_size=1, max_size=8))
def test_contracts_keep_the_weights_sum_and_order_and_no_slice_is_voiceless(weights: list[float]) -> None:
    weight = np.array(weights)
    contracts = contract_weight(weight)

    assert contracts.sum() == pytest.approx(weight.sum())
    assert (np.diff(contracts[np.argsort(weight, kind="stable")]) >= -1e-9).all()
    assert (contracts >= CONTRACT_PART * weight.mean() - 1e-9).all()


@given(shares=percents, loads=percents)
def test_lending_never_lends_more_than_is_idle(shares: list[float], loads: list[float]) -> None:
    size = min(len(shares), len(loads))
    scale = max(sum(shares[:size]) / 100.0, 1.0)
    own, load = np.array(shares[:size]) / scale, np.array(loads[:size])
    usable = lend_idle(own, load)
    idle = 100.0 - np.minimum(own, load).sum()

    assert (usable >= own - 1e-9).all()
    assert (usable <= np.maximum(own, load) + 1e-9).all()
    assert (usable - own).sum() <= LENDING_YIELD * idle + 1e-6
    assert np.minimum(usable, load).sum() <= 100.0 + 1e-6


def test_demand_deciles_are_those_of_the_normal_distribution() -> None:
    from scipy.stats import norm

    assert pytest.approx(norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9]), abs=1e-4) == DECILES

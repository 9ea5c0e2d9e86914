"""One step ahead on simple series."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.forecast import Forecaster


def _errors(series):
    """Mean absolute error of the forecaster and of the last value, after 30 steps."""
    forecaster = Forecaster(1)
    missed, missed_last = [], []
    for step, value in enumerate(series):
        if step > 30:
            missed.append(abs(forecaster.next_value()[0] - value))
            missed_last.append(abs(series[step - 1] - value))
        forecaster.learn(np.array([value]))
    return np.mean(missed), np.mean(missed_last)


def test_a_constant_is_forecast_exactly():
    forecaster = Forecaster(2)
    for _ in range(5):
        forecaster.learn(np.array([3.0, 0.0]))
    assert forecaster.next_value() == pytest.approx([3.0, 0.0])
    assert forecaster.deviation() == pytest.approx([0.0, 0.0])


def test_noise_around_a_level_is_forecast_better_than_by_the_last_value():
    mine, last = _errors(1000 + 100 * np.random.default_rng(1).standard_normal(300))
    assert mine < 0.85 * last


def test_a_random_walk_is_forecast_about_as_well_as_by_the_last_value():
    mine, last = _errors(10_000 + 50 * np.cumsum(np.random.default_rng(2).standard_normal(400)))
    assert mine < 1.1 * last


def test_a_short_season_is_found():
    mine, last = _errors(np.tile([100.0, 100.0, 900.0, 100.0, 100.0, 100.0], 30))
    assert mine < 0.1 * last


def test_a_ramp_is_followed():
    mine, last = _errors(np.arange(200) * 10.0 + 5.0)
    assert mine < 0.7 * last


def test_missing_values_leave_a_stream_as_it_is():
    forecaster = Forecaster(2)
    forecaster.learn(np.array([5.0, 7.0]))
    forecaster.learn(np.array([5.0, np.nan]))
    assert forecaster.next_value() == pytest.approx([5.0, 7.0])


def test_a_restored_forecaster_goes_on_as_if_nothing_had_happened():
    rng = np.random.default_rng(3)
    forecaster = Forecaster(3)
    for _ in range(20):
        forecaster.learn(rng.uniform(0, 10, 3))
    restored = Forecaster(3)
    restored.restore(forecaster.state())
    value = rng.uniform(0, 10, 3)
    forecaster.learn(value)
    restored.learn(value)
    assert np.array_equal(forecaster.next_value(), restored.next_value())

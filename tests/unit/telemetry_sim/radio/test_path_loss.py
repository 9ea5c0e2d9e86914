"""Path loss, line of sight and shadowing against independently worked-out values."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.radio.line_of_sight import los_probability
from telemetry_sim.radio.path_loss import (
    ENVIRONMENT_CODE,
    RMA,
    UMI,
    breakpoint_scalar_m,
    path_loss_db,
    path_loss_scalar_db,
)
from telemetry_sim.radio.shadowing import next_shadowing_db, shadowing_field, shadowing_sigma_db
from telemetry_sim.topology import Environment

if TYPE_CHECKING:
    from pathlib import Path


def test_umi_line_of_sight_equals_the_formula_by_hand() -> None:
    d_2d_m = 100.0
    by_hand = 32.4 + 21 * math.log10(math.hypot(d_2d_m, 8.5)) + 20 * math.log10(3.5)
    assert path_loss_db(Environment.UMI, d_2d_m, True, carrier_ghz=3.5) == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize(
    ("environment", "is_los", "expected_db"),
    [
        (Environment.RMA, True, {10: 77.3784, 100: 87.2965, 1000: 108.5577, 10_000: 140.3896}),
        (Environment.RMA, False, {10: 77.3784, 100: 95.7718, 1000: 133.5223, 5000: 160.5169}),
        (Environment.UMA, True, {10: 72.9380, 100: 86.2362, 1000: 109.7252, 5000: 137.6794}),
        (Environment.UMA, False, {10: 82.5131, 100: 106.1356, 1000: 144.7641, 5000: 172.0753}),
        (Environment.UMI, True, {10: 69.8591, 100: 88.4122, 1000: 119.3114, 5000: 147.2696}),
        (Environment.UMI, False, {10: 76.7563, 100: 107.9432, 1000: 143.1886, 5000: 167.8617}),
    ],
)
def test_loss_at_5_ghz_is_what_ns3_expects(
    environment: Environment, is_los: bool, expected_db: dict[int, float]
) -> None:
    distances_m = np.array(list(expected_db), dtype=np.float64)
    loss_db = path_loss_db(environment, distances_m, is_los, carrier_ghz=5.0)
    assert loss_db == pytest.approx(list(expected_db.values()), abs=1e-4)


@pytest.mark.parametrize("environment", list(Environment))
def test_loss_grows_with_distance_and_is_never_lower_without_line_of_sight(environment: Environment) -> None:
    d_2d_m = np.geomspace(1, 5000, 400)
    seen = path_loss_db(environment, d_2d_m, True, carrier_ghz=3.5)
    hidden = path_loss_db(environment, d_2d_m, False, carrier_ghz=3.5)
    assert np.all(np.diff(seen) >= -1e-9)
    assert np.all(np.diff(hidden) >= -1e-9)
    assert np.all(hidden >= seen)


@pytest.mark.parametrize("code", [UMI, RMA])
def test_loss_is_continuous_at_the_breakpoint(code: int) -> None:
    height_m = 10.0 if code == UMI else 35.0
    d_bp_m = breakpoint_scalar_m(code, 3.5, height_m, 1.5)
    before = path_loss_scalar_db(code, d_bp_m * (1 - 1e-9), True, 3.5, height_m, 1.5)
    after = path_loss_scalar_db(code, d_bp_m * (1 + 1e-9), True, 3.5, height_m, 1.5)
    assert after == pytest.approx(before, abs=0.01)


def test_the_scalar_and_the_array_form_agree() -> None:
    d_2d_m = np.array([5.0, 50.0, 500.0])
    over_array = path_loss_db(Environment.UMA, d_2d_m, False, carrier_ghz=2.0)
    one_by_one = [path_loss_scalar_db(ENVIRONMENT_CODE[Environment.UMA], d, False, 2.0, 25.0, 1.5) for d in d_2d_m]
    assert over_array.tolist() == one_by_one


@pytest.mark.parametrize("environment", list(Environment))
def test_line_of_sight_probability_falls_from_one(environment: Environment) -> None:
    probability = los_probability(environment, np.linspace(0, 3000, 500))
    assert probability[0] == 1.0
    assert np.all(np.diff(probability) <= 1e-12)
    assert np.all((probability >= 0) & (probability <= 1))


def test_shadowing_is_alike_nearby_and_unlike_far_away() -> None:
    x_m = np.array([0.0, 10.0, 1000.0])
    draws = np.array(
        [shadowing_field(x_m, np.zeros(3), correlation_m=50.0, rng=np.random.default_rng(seed)) for seed in range(2000)]
    )
    correlation = np.corrcoef(draws.T)
    assert draws.std() == pytest.approx(1.0, abs=0.03)
    assert correlation[0, 1] == pytest.approx(math.exp(-10 / 50), abs=0.03)
    assert abs(correlation[0, 2]) < 0.08


def test_shadowing_keeps_its_spread_while_a_device_moves() -> None:
    rng = np.random.default_rng(3)
    shadow = rng.normal(size=20_000) * 4.0
    for _ in range(5):
        shadow = next_shadowing_db(shadow, 3.0, 13.0, 4.0, rng.normal(size=shadow.size))
    assert shadow.std() == pytest.approx(4.0, rel=0.03)


@pytest.mark.data
def test_path_loss_equals_the_golden_values(recorded_data: Path) -> None:
    golden = json.loads((recorded_data / "golden" / "golden_formulas.json").read_text())
    heights_m = {"UMi": 10.0, "UMa": 25.0, "InF": 1.5}
    for name, expected in golden["pathloss_db"].items():
        model, point = name.split("@")
        family, state = model.split("_")
        carrier_ghz, d_3d_m = (float(part.removesuffix("GHz").removesuffix("m")) for part in point.split(","))
        hall = "sl" if state == "LOS" else state.lower()
        environment = Environment(f"inf_{hall}") if family == "InF" else Environment(family.lower())
        d_2d_m = math.sqrt(d_3d_m**2 - (heights_m[family] - 1.5) ** 2)
        loss_db = path_loss_db(
            environment, d_2d_m, state == "LOS", carrier_ghz=carrier_ghz, h_bs_m=heights_m[family], h_ut_m=1.5
        )
        assert loss_db == pytest.approx(expected, abs=0.01), name


@pytest.mark.data
def test_shadowing_spread_and_line_of_sight_equal_the_golden_values(recorded_data: Path) -> None:
    golden = json.loads((recorded_data / "golden" / "golden_formulas.json").read_text())
    for name, expected in golden["sigma_sf_db"].items():
        family, state = name.split("_")
        hall = "sl" if state == "LOS" else state.lower()
        environment = Environment(f"inf_{hall}") if family == "InF" else Environment(family.lower())
        assert shadowing_sigma_db(environment, state == "LOS", 50.0, carrier_ghz=3.5) == expected
    for distance, expected in golden["los_prob_umi"].items():
        assert los_probability(Environment.UMI, float(distance)) == pytest.approx(expected, abs=1e-5)

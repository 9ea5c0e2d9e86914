"""Satellite links."""

from __future__ import annotations

import math

import numpy as np
import pytest

from telemetry_sim.radio.non_terrestrial import (
    EARTH_RADIUS_M,
    GEO_ALTITUDE_M,
    LEO_ALTITUDE_M,
    elevation_deg,
    is_reachable,
    los_probability_scalar,
    one_way_delay_ms,
    orbit_period_scalar_s,
    path_loss_db,
    shadowing_sigma_scalar_db,
    slant_range_m,
)


def test_ranges_and_delays_of_the_technical_report() -> None:
    # TR 38.811, says 1,932 km and 40,586 km at 10 degrees (its radius of the earth is a little larger).
    assert slant_range_m(10.0, LEO_ALTITUDE_M) == pytest.approx(1_932_240, rel=5e-4)
    assert slant_range_m(10.0, GEO_ALTITUDE_M) == pytest.approx(40_586_000, rel=5e-4)
    assert slant_range_m(90.0, LEO_ALTITUDE_M) == pytest.approx(LEO_ALTITUDE_M)
    assert one_way_delay_ms(90.0, LEO_ALTITUDE_M) == pytest.approx(2.0, abs=0.01)


def test_free_space_loss_at_zenith_by_hand() -> None:
    by_hand = 20 * math.log10(4 * math.pi * LEO_ALTITUDE_M * 2e9 / 299_792_458)
    assert path_loss_db(90.0, LEO_ALTITUDE_M, True, 2.0) == pytest.approx(by_hand, abs=0.01)
    assert path_loss_db(10.0, LEO_ALTITUDE_M, False, 2.0) - path_loss_db(
        10.0, LEO_ALTITUDE_M, True, 2.0
    ) == pytest.approx(19.52)


def test_orbits_take_their_known_time() -> None:
    assert orbit_period_scalar_s(LEO_ALTITUDE_M) / 60 == pytest.approx(96.5, abs=0.3)
    assert orbit_period_scalar_s(GEO_ALTITUDE_M) / 3600 == pytest.approx(23.93, abs=0.05)


def test_a_pass_rises_and_sets_symmetrically() -> None:
    times_s = np.linspace(-600, 600, 121)
    elevation = elevation_deg(times_s, LEO_ALTITUDE_M, 1, 3.0)
    assert elevation == pytest.approx(elevation[::-1])
    assert np.argmax(elevation) == 60
    assert np.all(np.diff(elevation[:61]) > 0)
    assert elevation[0] < 0


def test_a_satellite_overhead_stands_at_ninety_degrees() -> None:
    assert elevation_deg(0.0, LEO_ALTITUDE_M, 1, 0.0) == pytest.approx(90.0)


def test_elevation_and_slant_range_fit_the_triangle_with_the_earths_centre() -> None:
    angle = math.radians(12.0)
    seen = float(elevation_deg(0.0, LEO_ALTITUDE_M, 1, 12.0))
    third = math.sqrt(
        EARTH_RADIUS_M**2
        + (EARTH_RADIUS_M + LEO_ALTITUDE_M) ** 2
        - 2 * EARTH_RADIUS_M * (EARTH_RADIUS_M + LEO_ALTITUDE_M) * math.cos(angle)
    )
    assert slant_range_m(seen, LEO_ALTITUDE_M) == pytest.approx(third, rel=1e-9)


def test_more_satellites_mean_shorter_outages() -> None:
    times_s = np.arange(0, 20_000, 5.0)
    shares = [is_reachable(times_s, LEO_ALTITUDE_M, number, 2.0).mean() for number in (1, 5, 10, 20)]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == 1.0


def test_higher_satellites_are_seen_more_surely() -> None:
    assert los_probability_scalar(10.0) == 0.782
    assert los_probability_scalar(90.0) == 0.998
    assert los_probability_scalar(3.0) == los_probability_scalar(10.0)
    assert shadowing_sigma_scalar_db(90.0, True) < shadowing_sigma_scalar_db(90.0, False)

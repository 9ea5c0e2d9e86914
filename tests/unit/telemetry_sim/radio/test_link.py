"""From SINR to bits: noise, fading, CQI, MCS, block errors and block sizes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.special import j0

from telemetry_sim.radio.block_error import block_error_rate, block_error_rate_of_length, required_sinr_scalar_db
from telemetry_sim.radio.fading import (
    fresh_part,
    jakes_correlation,
    next_gain_scalar,
    rician_power_scalar,
    steady_and_scattered,
)
from telemetry_sim.radio.link_adaptation import choose_mcs, cqi
from telemetry_sim.radio.modulation import CQI_EFFICIENCY, MCS_EFFICIENCY, MCS_OF_CQI
from telemetry_sim.radio.noise import thermal_noise_scalar_dbm
from telemetry_sim.radio.transport_block import goodput_scalar_bits_per_prb, transport_block_bits

if TYPE_CHECKING:
    from pathlib import Path

SINR_DB = np.linspace(-15, 35, 501)


def test_thermal_noise_of_20_mhz_is_minus_101_dbm() -> None:
    assert thermal_noise_scalar_dbm(20e6, 0.0) == pytest.approx(-100.96, abs=0.01)


def test_cqi_and_mcs_grow_with_sinr_up_to_their_last_row() -> None:
    assert np.all(np.diff(cqi(SINR_DB)) >= 0)
    assert np.all(np.diff(choose_mcs(SINR_DB, 0.1)) >= 0)
    assert (cqi(-15.0), cqi(35.0), choose_mcs(-15.0, 0.1), choose_mcs(35.0, 0.1)) == (0, 15, -1, 28)


@pytest.mark.parametrize("target", [0.001, 0.1, 0.5])
def test_the_chosen_mcs_meets_the_target_and_the_next_one_would_not(target: float) -> None:
    chosen = choose_mcs(SINR_DB, target)
    usable = chosen >= 0
    assert np.all(block_error_rate(SINR_DB[usable], chosen[usable]) <= target + 1e-12)
    below_top = usable & (chosen < 28)
    assert np.all(block_error_rate(SINR_DB[below_top], chosen[below_top] + 1) > target)


def test_required_sinr_is_where_the_curve_crosses_the_target() -> None:
    for mcs in range(29):
        assert block_error_rate(required_sinr_scalar_db(mcs, 0.1), mcs) == pytest.approx(0.1)


def test_no_mcs_beats_shannon() -> None:
    for mcs in range(29):
        capacity = np.log2(1 + 10 ** (required_sinr_scalar_db(mcs, 0.1) / 10))
        assert capacity > MCS_EFFICIENCY[mcs]


def test_every_cqi_has_an_mcs_of_nearly_its_efficiency() -> None:
    assert MCS_OF_CQI[0] == -1
    assert MCS_EFFICIENCY[MCS_OF_CQI[2:]] == pytest.approx(CQI_EFFICIENCY[2:], rel=0.02)


def test_block_sizes_match_worked_examples_of_the_procedure() -> None:
    # MCS 5 on 10 PRBs: 132 x 10 x 379/1024 x 2 = 977 -> step 8 -> 976 -> the next size is 984.
    assert transport_block_bits(5, 10) == 984
    # MCS 28 on 51 PRBs: 37,396 -> step 1,024 -> 36,864 in 5 code blocks -> 36,896.
    assert transport_block_bits(28, 51) == 36_896
    assert transport_block_bits([0, -1, 5], [1, 10, 0]).tolist() == [24, 0, 0]


def test_block_sizes_stay_near_the_payload_and_are_whole_bytes() -> None:
    for mcs in range(29):
        prbs = np.arange(1, 276)
        bits = transport_block_bits(mcs, prbs)
        assert np.all(bits % 8 == 0)
        assert np.all(np.diff(bits) >= 0)
        payload = prbs * goodput_scalar_bits_per_prb(mcs, 0.0)
        large = payload > 200
        assert bits[large] == pytest.approx(payload[large], rel=0.08)


def test_jakes_correlation_equals_the_bessel_function_until_its_first_zero() -> None:
    for step_s in np.linspace(0, 0.03, 20):
        expected = j0(2 * np.pi * (1.0 * 3.5e9 / 3e8) * step_s)
        assert jakes_correlation(1.0, 3.5, step_s) == pytest.approx(expected, abs=1e-8)
    assert jakes_correlation(30.0, 3.5, 0.1) == 0.0


def test_fading_keeps_unit_mean_power() -> None:
    rng = np.random.default_rng(5)
    real, imaginary, powers = 0.7, 0.7, []
    for first, second in rng.normal(size=(20_000, 2)):
        real, imaginary = next_gain_scalar(real, imaginary, 0.5, fresh_part(0.5), first, second)
        powers.append(rician_power_scalar(real, imaginary, *steady_and_scattered(3.0)))
    assert np.mean(powers) == pytest.approx(1.0, abs=0.03)


@pytest.mark.data
def test_block_error_curves_follow_the_simulated_table(recorded_data: Path) -> None:
    table = json.loads((recorded_data / "sionna_bler" / "PDSCH_table1.json").read_text())
    rows = table["category"]["1"]["index"]["1"]["MCS"]
    errors = []
    for mcs, row in rows.items():
        for length in ("100", "500", "1000", "2000"):
            truth = np.array(row["CBS"][length]["BLER"])
            modelled = block_error_rate_of_length(np.array(row["SNR_db"]), int(mcs), float(length))
            errors.append(np.abs(modelled - truth))
    assert np.sqrt(np.mean(np.square(errors))) < 0.015
    assert np.max(errors) < 0.15

"""LoRaWAN airtime, duty cycle and collisions."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.lora import (
    LoraSettings,
    earliest_starts_s,
    fastest_spreading_factor,
    received,
    sensitivity_dbm,
    silence_after_us,
    time_on_air_us,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_airtime_of_the_published_worked_example() -> None:
    assert time_on_air_us(13, LoraSettings(spreading_factor=9)) == 164_864


@pytest.mark.parametrize("spreading_factor", range(7, 13))
def test_airtime_equals_the_datasheets_formula_in_floating_point(spreading_factor: int) -> None:
    for bandwidth_hz in (125_000, 250_000, 500_000):
        for coding_rate in (1, 4):
            settings = LoraSettings(
                spreading_factor=spreading_factor, bandwidth_hz=bandwidth_hz, coding_rate=coding_rate
            )
            symbol_s = 2**spreading_factor / bandwidth_hz
            low_rate = 2 if symbol_s > 0.016 else 0
            for payload in (0, 1, 51, 222, 255):
                blocks = math.ceil((8 * payload - 4 * spreading_factor + 44) / (4 * (spreading_factor - low_rate)))
                symbols = 12.25 + 8 + max(0, blocks) * (coding_rate + 4)
                assert time_on_air_us(payload, settings) == pytest.approx(symbols * symbol_s * 1e6, abs=0.5)


def test_a_device_keeps_its_duty_cycle_and_its_order() -> None:
    airtime_us = time_on_air_us(20, LoraSettings(spreading_factor=12))
    starts = earliest_starts_s([0.0, 1.0, 2.0, 5000.0], airtime_us)
    assert starts == sorted(starts)
    assert starts[1] >= airtime_us / 1e6 / 0.01
    assert starts[3] == 5000.0
    assert silence_after_us(airtime_us) == 99 * airtime_us
    assert silence_after_us(airtime_us, 1.0) == 0


def test_slower_settings_reach_further() -> None:
    assert sensitivity_dbm(7) == pytest.approx(-124.5, abs=0.1)
    assert sensitivity_dbm(12) == pytest.approx(-137.0, abs=0.1)
    assert fastest_spreading_factor(-100) == 7
    assert fastest_spreading_factor(-126) == 12
    assert fastest_spreading_factor(-140) is None


def _received(rows: list[tuple[float, float, int, int, float]]) -> list[bool]:
    start_s, airtime_s, channel, spreading_factor, rssi_dbm = (np.array(column) for column in zip(*rows, strict=True))
    return received(
        start_s=start_s, airtime_s=airtime_s, channel=channel, spreading_factor=spreading_factor, rssi_dbm=rssi_dbm
    ).tolist()


def test_packets_apart_in_time_or_channel_are_both_read() -> None:
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.1, 0.1, 0, 7, -90.0), (0.05, 0.1, 1, 7, -90.0)]) == [True] * 3


def test_equal_packets_that_overlap_destroy_each_other() -> None:
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.09, 0.1, 0, 7, -90.0)]) == [False, False]


def test_the_stronger_packet_is_captured() -> None:
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.05, 0.1, 0, 7, -97.0)]) == [True, False]


def test_two_weak_interferers_add_up() -> None:
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.05, 0.1, 0, 7, -97.0), (0.06, 0.1, 0, 7, -97.0)])[0] is False


def test_spreading_factors_share_a_channel_unless_one_is_far_too_loud() -> None:
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.0, 0.5, 0, 9, -90.0)]) == [True, True]
    assert _received([(0.0, 0.1, 0, 7, -90.0), (0.0, 0.5, 0, 9, -120.0)]) == [True, False]


def test_a_packet_below_the_sensitivity_is_lost_alone() -> None:
    assert _received([(0.0, 0.1, 0, 7, -130.0)]) == [False]


def test_pure_aloha_follows_its_law() -> None:
    rng = np.random.default_rng(4)
    airtime_s, rate_hz, duration_s = 0.05, 4.0, 20_000.0
    start_s = np.sort(rng.uniform(0, duration_s, rng.poisson(rate_hz * duration_s)))
    count = len(start_s)
    read = received(
        start_s=start_s,
        airtime_s=np.full(count, airtime_s),
        channel=np.zeros(count, dtype=np.int64),
        spreading_factor=np.full(count, 7),
        rssi_dbm=np.full(count, -90.0),
    )
    assert read.mean() == pytest.approx(math.exp(-2 * rate_hz * airtime_s), abs=0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [("spreading_factor", 6), ("bandwidth_hz", 200_000), ("coding_rate", 0), ("preamble_symbols", 1)],
)
def test_impossible_settings_are_refused_by_field(field: str, value: int) -> None:
    with pytest.raises(ScenarioInvalid, match=rf"lora\.{field}: {value}"):
        LoraSettings(**{"spreading_factor": 7, field: value})


def test_impossible_payloads_and_duty_cycles_are_refused() -> None:
    with pytest.raises(ScenarioInvalid, match="payload_bytes: 256"):
        time_on_air_us(256, LoraSettings(spreading_factor=7))
    with pytest.raises(ScenarioInvalid, match=r"duty_cycle: 0\.0"):
        silence_after_us(1000, 0.0)


@pytest.mark.data
def test_airtime_equals_the_golden_values_to_the_microsecond(recorded_data: Path) -> None:
    golden = json.loads((recorded_data / "golden" / "golden_formulas.json").read_text())["lora_toa_ms"]
    for name, milliseconds in golden.items():
        found = re.fullmatch(r"SF(\d+),(\d+)B,BW125,CR4/5", name)
        assert found is not None
        settings = LoraSettings(spreading_factor=int(found.group(1)))
        assert time_on_air_us(int(found.group(2)), settings) == round(1000 * milliseconds)

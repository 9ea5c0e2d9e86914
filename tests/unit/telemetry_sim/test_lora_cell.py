"""Devices around one LoRaWAN gateway."""

from __future__ import annotations

import math

import numpy as np
import pytest

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.lora import LoraSettings, time_on_air_us
from telemetry_sim.lora_cell import LoraCell, send_uplinks, spreading_factors

HOUR_S = 3600.0


def cell_of(num_devices: int, *, rssi_dbm: float = -100.0, interval_s: float = 60.0, num_channels: int = 8) -> LoraCell:
    return LoraCell(
        rssi_dbm=np.full(num_devices, rssi_dbm), interval_s=interval_s, payload_bytes=20, num_channels=num_channels
    )


def test_a_lone_device_gets_everything_through() -> None:
    outcome = send_uplinks(cell_of(1), HOUR_S, np.random.default_rng(1))
    assert outcome.num_sent.tolist() == outcome.num_received.tolist()
    assert outcome.num_sent[0] in {60, 61}


def test_devices_out_of_reach_get_nothing_through() -> None:
    outcome = send_uplinks(cell_of(5, rssi_dbm=-150.0), HOUR_S, np.random.default_rng(1))
    assert outcome.num_sent.sum() > 0
    assert outcome.num_received.sum() == 0


def test_farther_devices_send_slower() -> None:
    cell = LoraCell(rssi_dbm=np.array([-90.0, -118.0, -125.0, -160.0]), interval_s=60.0, payload_bytes=20)
    assert spreading_factors(cell).tolist() == [7, 9, 12, 12]


@pytest.mark.parametrize("rssi_dbm", [-100.0, -126.0])
def test_nobody_exceeds_the_duty_cycle(rssi_dbm: float) -> None:
    outcome = send_uplinks(cell_of(20, rssi_dbm=rssi_dbm, interval_s=1.0), 10 * HOUR_S, np.random.default_rng(2))
    assert np.all(outcome.airtime_s <= 0.01 * 10 * HOUR_S * 1.001)


def test_losses_follow_pure_aloha_when_all_are_alike() -> None:
    cell = cell_of(1000, interval_s=20.0, num_channels=3)
    outcome = send_uplinks(cell, HOUR_S, np.random.default_rng(3))
    airtime_s = time_on_air_us(20, LoraSettings(spreading_factor=7)) / 1e6
    load = 1000 / 20.0 * airtime_s / 3
    assert outcome.num_received.sum() / outcome.num_sent.sum() == pytest.approx(math.exp(-2 * load), abs=0.02)


def test_more_channels_lose_less_and_the_same_seed_gives_the_same() -> None:
    shares = []
    for channels in (1, 3, 8):
        cell = cell_of(400, interval_s=10.0, num_channels=channels)
        first = send_uplinks(cell, HOUR_S, np.random.default_rng(4))
        again = send_uplinks(cell, HOUR_S, np.random.default_rng(4))
        assert first.num_received.tolist() == again.num_received.tolist()
        shares.append(first.num_received.sum() / first.num_sent.sum())
    assert shares == sorted(shares)


def test_impossible_cells_are_refused() -> None:
    with pytest.raises(ScenarioInvalid, match="interval_s: 0"):
        cell_of(1, interval_s=0.0)
    with pytest.raises(ScenarioInvalid, match="num_channels: 0"):
        cell_of(1, num_channels=0)

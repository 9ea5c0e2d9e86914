"""Sensors are remembered for as long as they are heard, and no more of them than memory allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_preprocess.sensor_watch import SensorWatch
from telemetry_sim.records import SensorColumns

DAY_S = 86_400.0


@pytest.fixture
def look(make_frame):
    """Show a watch three readings of each sensor, which stand still or move."""

    def shown(watch, time_s, sensors, *, is_moving=True):
        ids = np.repeat(np.asarray(sensors, dtype=np.int64), 3)
        readings = SensorColumns(
            time_s=np.full(len(ids), time_s),
            device_id=ids,
            cell=np.zeros(len(ids), dtype=np.int16),
            stream=np.zeros(len(ids), dtype=np.int16),
            value=20.0 + np.arange(len(ids)) % 3 * is_moving,
        )
        return watch.look([replace(make_frame(time_s), sensors=readings)])

    return shown


def _known(watch):
    return {int(key) // 4096 for key in watch.state()["keys"]}


def test_a_sensor_that_is_silent_for_a_week_is_forgotten(look):
    watch = SensorWatch(1)
    look(watch, 10.0, [1, 2])
    look(watch, 6 * DAY_S, [2])
    assert _known(watch) == {1, 2}
    look(watch, 8 * DAY_S, [3])
    assert _known(watch) == {2, 3}
    assert [finding.num_sensors for finding in look(watch, 8 * DAY_S + 10.0, [2], is_moving=False)] == [1]


def test_ids_that_change_without_end_displace_no_sensor_that_is_known(look, monkeypatch):
    monkeypatch.setattr("edge_preprocess.sensor_watch._MAX_SENSORS", 5)
    watch = SensorWatch(1)
    look(watch, 10.0, [7, 900])
    for step in range(2, 50):
        look(watch, 10.0 * step, [7, 900, *range(10 * step, 10 * step + 9)])
    assert len(_known(watch)) == 5
    assert {7, 900} < _known(watch)


def test_a_state_that_does_not_say_when_its_sensors_were_heard_is_gone_on_from(look):
    watch = SensorWatch(1)
    look(watch, 10.0, [1, 2])
    state = watch.state()
    del state["heard_s"]
    risen = SensorWatch(1)
    risen.restore(state)
    assert [finding.num_sensors for finding in look(risen, 9 * DAY_S, [2], is_moving=False)] == [1]
    assert _known(risen) == {1, 2}
    look(risen, 17 * DAY_S, [2])
    assert _known(risen) == {2}


@pytest.fixture
def read(make_frame):
    """Show a watch an interval's readings of one sensor; whether it counts as stuck."""

    def shown(watch, time_s, values):
        readings = SensorColumns(
            time_s=np.full(len(values), time_s),
            device_id=np.full(len(values), 3),
            cell=np.zeros(len(values), dtype=np.int16),
            stream=np.zeros(len(values), dtype=np.int16),
            value=np.asarray(values, dtype=np.float64),
        )
        return any(finding.is_stuck for finding in watch.look([replace(make_frame(time_s), sensors=readings)]))

    return shown


def _stuck_intervals(read, watch, values):
    """Which intervals of ten readings find the sensor stuck."""
    return [
        number for number, ten in enumerate(np.asarray(values).reshape(-1, 10)) if read(watch, 10.0 * (number + 1), ten)
    ]


def test_a_noisy_sensor_that_stands_still_is_told_in_the_next_interval_and_for_as_long_as_it_lasts(read):
    noise = np.random.default_rng(1).normal(20.0, 1.0, 20)
    values = [*noise[:10], *[noise[9]] * 1000, *noise[10:]]
    assert _stuck_intervals(read, SensorWatch(1), values) == list(range(1, 101))


@pytest.mark.parametrize("chance", [0.02, 0.2, 0.6])
def test_a_coarse_sensor_is_not_stuck_because_it_seldom_moves(read, chance):
    steps = np.random.default_rng(2).uniform(size=20_000) < chance
    found = _stuck_intervals(read, SensorWatch(1), np.cumsum(steps) % 2)
    assert len(found) < 0.02 * 2000


def test_a_coarse_sensor_that_never_moves_again_is_told_once_that_is_no_chance(read):
    steps = np.random.default_rng(3).uniform(size=1_000) < 0.2
    moving, stuck = np.cumsum(steps) % 2, np.zeros(200)
    found = _stuck_intervals(read, SensorWatch(1), [*moving, *stuck])
    assert found[-1] == 119
    assert found[-17:] == list(range(103, 120))


def test_a_sensor_that_has_never_moved_is_not_stuck(read):
    assert _stuck_intervals(read, SensorWatch(1), np.full(10_000, 7.0)) == []


@pytest.mark.parametrize("moves", [True, False])
def test_a_state_that_says_only_whether_sensors_moved_is_gone_on_from(read, moves):
    watch, risen = SensorWatch(1), SensorWatch(1)
    read(watch, 10.0, [20.0, 21.0, 22.0])
    state = {name: part for name, part in watch.state().items() if name not in {"changes", "pairs", "run", "last"}}
    risen.restore(state | {"moves": np.array([moves])})
    assert read(risen, 20.0, [20.0, 20.0, 20.0]) is moves


def test_a_restored_watch_goes_on_with_the_run_under_way(read):
    values = [*np.random.default_rng(4).integers(0, 2, 40), *[1] * 40]
    whole, first, second = SensorWatch(1), SensorWatch(1), SensorWatch(1)
    expected = _stuck_intervals(read, whole, values)
    _stuck_intervals(read, first, values[:50])
    second.restore(first.state())
    found = [n for n in range(5, 8) if read(second, 10.0 * (n + 1), values[10 * n : 10 * n + 10])]
    assert found == [n for n in expected if n >= 5] != []

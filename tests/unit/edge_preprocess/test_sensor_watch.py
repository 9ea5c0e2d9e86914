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

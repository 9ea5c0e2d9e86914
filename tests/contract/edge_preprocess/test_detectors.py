"""What every streaming detector promises."""

from __future__ import annotations

import numpy as np
import pytest

from edge_preprocess.change_points import ChangePointDetector
from edge_preprocess.detectors import ALARM, scores_in_order
from edge_preprocess.ewma import EwmaDetector
from edge_preprocess.novelty import NoveltyDetector

_STEPS = 700


@pytest.fixture(params=[EwmaDetector, NoveltyDetector, ChangePointDetector], ids=["ewma", "novelty", "change-point"])
def make(request):
    return request.param


def _noise(streams=1, seed=5):
    return np.random.default_rng(seed).standard_normal((_STEPS, streams))


def test_scores_lie_between_0_and_1(make):
    values = _noise(3) * np.array([1e-9, 1.0, 1e9])
    values[600:, 1] += 1e6
    scores = scores_in_order(make(3), values)
    assert scores.min() >= 0.0
    assert scores.max() <= 1.0


def test_a_lasting_jump_is_an_alarm_within_ten_values(make):
    values = _noise()
    values[600:] += 15.0
    scores = scores_in_order(make(1), values)[:, 0]
    assert scores[600:610].max() >= ALARM


def test_steady_noise_is_no_alarm(make):
    scores = scores_in_order(make(20), _noise(20))
    assert (scores >= ALARM).mean() < 5e-4


def test_a_constant_stream_is_no_alarm(make):
    values = np.full((_STEPS, 2), [0.0, 1234.5678])
    assert scores_in_order(make(2), values).max() < ALARM


def test_the_score_does_not_depend_on_unit_or_offset(make):
    values = _noise()
    values[650] += 30.0
    plain = scores_in_order(make(1), values)
    scaled = scores_in_order(make(1), values * 4096.0 + 65536.0)
    assert scaled == pytest.approx(plain, abs=0.02)


def test_streams_in_lockstep_do_not_touch_each_other(make):
    values = _noise(4)
    values[500:, 2] = 1e5
    together = scores_in_order(make(4), values)
    alone = scores_in_order(make(1), values[:, :1])
    assert np.array_equal(together[:, :1], alone)


def test_later_values_do_not_change_earlier_scores(make):
    values = _noise()
    other = values.copy()
    other[400:] = 99.0
    assert np.array_equal(scores_in_order(make(1), values)[:400], scores_in_order(make(1), other)[:400])


def test_scoring_alone_learns_nothing(make):
    detector = make(1)
    for row in _noise():
        detector.learn_many(row)
    probe = np.array([50.0])
    assert detector.score_many(probe) == detector.score_many(probe)
    detector.score_many(np.array([0.0]))
    assert detector.score_many(probe)[0] >= ALARM / 5


def test_missing_values_score_0_and_leave_a_stream_as_it_is(make):
    values = _noise()
    gaps = np.insert(values, np.arange(100, 600, 7), np.nan, axis=0)
    scores = scores_in_order(make(1), gaps)
    assert (scores[np.isnan(gaps)] == 0.0).all()
    assert np.array_equal(scores[~np.isnan(gaps)], scores_in_order(make(1), values)[:, 0])


def test_a_restored_detector_goes_on_as_if_nothing_had_happened(make):
    values = _noise(2)
    values[680] += 20
    whole = scores_in_order(make(2), values)
    first = make(2)
    scores_in_order(first, values[:650])
    second = make(2)
    second.restore(first.state())
    assert np.array_equal(scores_in_order(second, values[650:]), whole[650:])


def test_memory_does_not_grow_with_the_number_of_values(make):
    def size(detector):
        return sum(part.nbytes for part in detector.state().values())

    detector = make(2)
    before = size(detector)
    scores_in_order(detector, _noise(2))
    assert size(detector) == before


def test_a_silent_stream_leaves_the_others_as_they_were(make):
    values = _noise()
    values[600] += 50.0
    values[610] += 50.0
    beside = np.column_stack([values[:, 0], np.full(_STEPS, np.nan)])
    assert scores_in_order(make(2), beside)[:, 0] == pytest.approx(scores_in_order(make(1), values)[:, 0])

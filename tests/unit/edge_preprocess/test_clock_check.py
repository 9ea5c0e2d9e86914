"""Times that no clock can have, leaps of a broken clock, and gaps in what a source sent."""

from __future__ import annotations

import math

import pytest

from edge_preprocess.clock_check import ClockCheck
from edge_preprocess.intake import take_in
from edge_preprocess.intervals import cut

_GOOD = {"offered_bits": 10.0, "served_bits": 10.0}


def judged(times):
    clock = ClockCheck()
    return [clock.judge(time_s, 1.0) for time_s in times]


@pytest.mark.parametrize("time_s", [0.0, -1.0, math.nan, math.inf, 1.7e12])
def test_a_time_that_no_clock_can_have_is_invalid(time_s):
    assert judged([5.0, time_s, 6.0]) == ["", "time_invalid", ""]


@pytest.mark.parametrize("period_s", [0.0, -1.0, math.nan, math.inf])
def test_a_period_that_no_report_can_have_is_invalid(period_s):
    assert ClockCheck().judge(1.0, period_s) == "time_invalid"


def test_a_single_leap_is_refused_and_time_goes_on():
    assert judged([5.0, 90_000.0, 6.0, 7.0]) == ["", "clock_ahead", "", ""]


def test_a_leap_that_the_next_frame_carries_on_from_was_a_gap():
    assert judged([5.0, 90_000.0, 90_001.0, 90_002.0]) == ["", "clock_ahead", "", ""]


def test_frames_that_come_seldom_may_be_far_apart():
    clock = ClockCheck()
    assert [clock.judge(time_s, 600.0) for time_s in (600.0, 50_000.0)] == ["", ""]


def test_going_back_and_standing_still_are_refused():
    assert judged([5.0, 4.0, 5.0, 6.0]) == ["", "time_backwards", "time_backwards", ""]


def test_a_step_back_that_a_few_frames_carry_on_from_is_a_new_start():
    assert judged([500.0, 1.0, 2.0, 3.0, 4.0]) == ["", "time_backwards", "time_backwards", "", ""]


def test_frames_that_come_late_one_by_one_or_again_are_no_new_start():
    late = [100.0, 50.0, 101.0, 51.0, 102.0, 52.0, 52.0, 52.0, 52.0]
    assert judged(late) == ["", "time_backwards", "", "time_backwards", "", *["time_backwards"] * 4]


@pytest.mark.parametrize("times", [(5.0, 90_000.0, 90_001.0), (500.0, 1.0, 2.0, 3.0)])
def test_a_restored_clock_goes_on_as_if_nothing_had_happened(times):
    first, second = ClockCheck(), ClockCheck()
    for time_s in times[:-1]:
        first.judge(time_s, 1.0)
    second.restore(first.state())
    assert second.judge(times[-1], 1.0) == ""


def test_a_state_that_does_not_count_doubted_frames_is_gone_on_from():
    clock = ClockCheck()
    clock.restore((5.0, 90_000.0))
    assert clock.judge(90_001.0, 1.0) == ""
    clock.restore((500.0, math.nan))
    assert [clock.judge(time_s, 1.0) for time_s in (1.0, 2.0, 3.0)] == ["time_backwards", "time_backwards", ""]


def test_the_rows_of_a_frame_from_the_future_are_counted(topology, make_frame):
    frames = [make_frame(t, (1, 2), (0, 1), (0, 0), **_GOOD) for t in (1, 99_999, 2, 3)]
    intake = take_in(frames, topology)
    assert intake.reasons == {"clock_ahead": 2}
    assert (intake.received.sum(), intake.quarantined.sum(), len(intake.rows)) == (8, 2, 6)


def test_a_frame_from_the_future_closes_no_interval(make_frame):
    frames = [make_frame(t, (1,), (0,), (0,), **_GOOD) for t in (1, 99_999, 2, 11)]
    assert [(one.number, len(one.frames)) for one in cut(frames, (), interval_s=10.0)] == [(1, 3), (2, 1)]

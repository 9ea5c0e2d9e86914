"""The rollback watch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.gate.watch import RollbackWatch


def feed(watch, utilities, *, version, **fields):
    settings = {"drop": 0.1, "num_intervals": 2} | fields
    return [watch.observe(utility, version=version, **settings) for utility in utilities]


def test_two_bad_intervals_in_a_row_go_back_to_the_last_good_version():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.81, 0.79, 0.8], version=4)
    assert feed(watch, [0.5, 0.5], version=5) == [None, 4]


def test_one_bad_interval_is_forgiven():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.81, 0.79, 0.8], version=4)
    assert feed(watch, [0.5, 0.8, 0.5, 0.8], version=5) == [None] * 4


def test_a_fall_within_noise_is_no_fall():
    watch = RollbackWatch()
    feed(watch, [0.9, 0.5, 0.9, 0.5, 0.9, 0.5], version=4)
    assert feed(watch, [0.45, 0.45, 0.45], version=5) == [None] * 3


def test_policies_that_follow_one_another_do_not_reset_the_count():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [0.5], version=5) == [None]
    assert feed(watch, [0.5], version=6) == [4]


def test_a_surge_that_would_have_hurt_the_old_policy_as_much_is_nobodys_fault():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4, expected=0.8)
    assert feed(watch, [0.5, 0.5, 0.5], version=5, expected=0.5) == [None] * 3


def test_a_fall_against_what_was_expected_goes_back_whatever_the_level_was():
    watch = RollbackWatch()
    for utility in (0.5, 0.9, 0.7, 0.6, 0.8):
        feed(watch, [utility], version=4, expected=utility)
    assert feed(watch, [0.6, 0.6], version=5, expected=0.8) == [None, 4]


@pytest.mark.parametrize("is_expected", [True, False])
@pytest.mark.parametrize("deviation", [0.02, 0.05, 0.1])
def test_noise_alone_rolls_back_at_most_once_in_two_thousand_intervals(deviation, is_expected):
    rng = np.random.default_rng(1)
    watch, num_alarms = RollbackWatch(), 0
    for version in range(1, 10_001):
        expected = 0.8 + 0.1 * math.sin(version / 20) if is_expected else None
        utility = (expected or 0.8) + rng.normal(0, deviation)
        if feed(watch, [utility], version=version, expected=expected) != [None]:
            num_alarms += 1
            watch.restart(version)
    assert num_alarms <= 5


def test_without_a_change_of_version_there_is_nothing_to_go_back_to():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [0.1, 0.1, 0.1], version=4) == [None] * 3


def test_a_utility_that_is_no_number_counts_as_bad():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [math.nan, math.nan], version=5) == [None, 4]

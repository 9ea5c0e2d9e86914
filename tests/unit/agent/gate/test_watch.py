"""The rollback watch."""

from __future__ import annotations

import math

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
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [0.5, 0.5, 0.5], version=5, expected=0.5) == [None] * 3


def test_without_a_change_of_version_there_is_nothing_to_go_back_to():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [0.1, 0.1, 0.1], version=4) == [None] * 3


def test_a_utility_that_is_no_number_counts_as_bad():
    watch = RollbackWatch()
    feed(watch, [0.8, 0.8, 0.8], version=4)
    assert feed(watch, [math.nan, math.nan], version=5) == [None, 4]

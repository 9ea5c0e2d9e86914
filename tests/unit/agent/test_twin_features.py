"""What the twin looks at: a fair pool in closed form, and features that stay within their bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.control_loop import initial_plan
from agent.optimiser import plan_cell
from agent.twin_features import CellFeatures, fair_pool, is_pool
from agent.utility import expected_load
from telemetry_sim.actions import Scheduler
from tests.agent_stage import random_case


def test_a_pool_with_room_gives_everybody_what_they_ask_for():
    demand = np.array([[20.0, 30.0, 10.0]])
    assert fair_pool(demand, np.array([1.0, 5.0, 2.0])) == pytest.approx(demand)


def test_a_full_pool_gives_no_device_more_than_one_that_wants_more():
    # 10 devices ask for 1 each and get it; 90 percent are left for 2 and 4 that ask for more: 15 each.
    got = fair_pool(np.array([[10.0, 60.0, 100.0]]), np.array([10.0, 2.0, 4.0]))
    assert got[0] == pytest.approx([10.0, 30.0, 60.0])


def test_fair_pools_are_full_and_level():
    rng = np.random.default_rng(4)
    for _ in range(200):
        num_slices = int(rng.integers(1, 9))
        demand, devices = rng.uniform(0.0, 90.0, (3, num_slices)), rng.integers(1, 40, num_slices).astype(float)
        got = fair_pool(demand, devices)
        assert (got <= demand + 1e-9).all()
        assert got.sum(axis=1) == pytest.approx(np.minimum(demand.sum(axis=1), 100.0))
        each = got / devices
        is_short = got < demand - 1e-9
        for row in range(3):
            if is_short[row].any():
                assert each[row][is_short[row]] == pytest.approx(each[row].max())


def test_features_are_bounded_and_tell_a_pool_and_its_scheduler():
    for seed in range(30):
        digest, terms = random_case(seed)
        load = expected_load(digest, terms)
        cell = CellFeatures(digest, replace(load, packets_per_s=load.packets_per_s * np.ones((2, 1))), terms.target)
        plan = plan_cell(digest, terms)
        pool = replace(plan, slices=tuple(replace(p, min_pct=0, scheduler=Scheduler.ROUND_ROBIN) for p in plan.slices))
        assert is_pool((pool, initial_plan(digest.cell, len(digest.slices)))).ravel().tolist() == [True, False]
        radio, pooled = together = cell.radio((plan, pool))
        np.testing.assert_array_equal(radio, cell.radio((plan,))[0])
        assert np.isfinite(radio).all()
        assert np.abs(radio).max() <= 6.0
        assert not np.array_equal(radio, pooled)
        tasks = cell.tasks((plan, pool), together)
        assert (tasks is None) == (not (load.tasks_per_s > 0).any())
        assert tasks is None or np.isfinite(tasks).all()

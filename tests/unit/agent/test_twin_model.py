"""The twin's networks: written, read, refused where they are foreign, and fitted to what happened."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from agent.errors import ModelUnavailable
from agent.pretraining.twin_fitting import FittingPlan, fit
from agent.pretraining.twin_trials import random_plan, run_trials
from agent.twin_model import TwinModel, embedded_twin
from tests.agent_stage import random_case


def test_a_written_twin_reads_back_as_it_was(tmp_path):
    model = embedded_twin()
    model.save(tmp_path / "deep" / "twin.safetensors")
    again = TwinModel.load(tmp_path / "deep" / "twin.safetensors")
    features = np.random.default_rng(1).normal(size=(2, 3, len(model.radio.mean)))
    assert np.array_equal(model.radio.ratio(features), again.radio.ratio(features))
    assert ((model.radio.ratio(100.0 * features) >= 0.0) & (model.radio.ratio(100.0 * features) <= 1.0)).all()


@pytest.mark.parametrize("content", [b"", b"not tensors at all", None])
def test_a_foreign_or_absent_twin_is_refused_by_name(tmp_path, content):
    path = tmp_path / "twin.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"twin\.safetensors"):
        TwinModel.load(path)
    save_file({"radio.mean": np.zeros(3, np.float32)}, path)
    with pytest.raises(ModelUnavailable, match="radio"):
        TwinModel.load(path)


def test_fitting_learns_what_decides_and_gives_the_same_network_twice():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(4000, 5))
    ratio = 1.0 / (1.0 + np.exp(-2.0 * features[:, 1] + features[:, 3]))
    plan = FittingPlan(num_runs=0, num_epochs=30, first_seed=0, seed=2)
    fitted = fit(features[:3000], ratio[:3000], plan)
    error = fitted.ratio(features[None, 3000:])[0] - ratio[3000:]
    assert np.sqrt(np.mean(error**2)) < 0.05
    again = fit(features[:3000], ratio[:3000], plan)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(fitted.layers, again.layers, strict=True))


def test_trials_of_a_run_are_the_same_each_time_and_differ_by_seed():
    first, again, other = (run_trials([("smart-home", seed)]) for seed in (700_001, 700_001, 700_002))
    assert np.array_equal(first.radio, again.radio)
    assert np.array_equal(first.tasks_in_time, again.tasks_in_time)
    assert not np.array_equal(first.in_time, other.in_time)
    assert len(first.radio) == len(first.in_time) > 100
    assert ((first.in_time >= 0.0) & (first.in_time <= 1.0)).all()


def test_random_plans_are_feasible_and_of_every_kind():
    rng = np.random.default_rng(5)
    plans = [random_plan(rng, *random_case(seed)) for seed in range(120)]
    assert all(plan.is_within_budget for plan in plans)
    num_pools = sum(all(part.min_pct == 0 for part in plan.slices) for plan in plans)
    assert 20 < num_pools < 60
    assert any(len({part.scheduler for part in plan.slices}) > 1 for plan in plans)


def test_the_shipped_twin_foresees_runs_that_it_did_not_see():
    trials = run_trials([("smart-city", 99_001), ("ehealth", 99_001)])
    model = embedded_twin()
    for perceptron, features, ratio in (
        (model.radio, trials.radio, trials.in_time),
        (model.tasks, trials.tasks, trials.tasks_in_time),
    ):
        error = np.sqrt(np.mean((perceptron.ratio(features[None])[0] - ratio) ** 2))
        assert error < 0.7 * ratio.std()

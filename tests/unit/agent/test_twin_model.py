"""The twin's networks: written, read, refused where they are foreign, and fitted to what happened."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

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
    told, far = again.radio.outcome(features), again.radio.outcome(100.0 * features)
    assert np.array_equal(model.radio.outcome(features).credit, told.credit)
    assert all(((part >= 0.0) & (part <= 1.0)).all() for part in (far.in_time, far.service, far.credit))


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


def test_a_twin_that_tells_something_else_is_refused(tmp_path):
    path = tmp_path / "twin.safetensors"
    embedded_twin().save(path)
    tensors = load_file(path)
    tensors |= {key: tensors[key][:1] for key in ("radio.2.weight", "radio.2.bias")}
    save_file(tensors, path)
    with pytest.raises(ModelUnavailable, match="radio tells 1 numbers of a slice; expected 3"):
        TwinModel.load(path)


def test_fitting_learns_what_decides_and_gives_the_same_network_twice():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1000, 4, 5))
    ratio = 1.0 / (1.0 + np.exp(-2.0 * features[..., 1] + features[..., 3]))
    # Whether a credit is had is left to chance: what is told must be its expectation.
    credit = (rng.random(ratio.shape) < ratio).astype(float)
    outcomes = np.stack((ratio, np.sqrt(ratio), credit), axis=-1)
    plan = FittingPlan(num_runs=0, num_epochs=30, first_seed=0, seed=2)
    fitted = fit(features[:750], outcomes[:750], plan)
    told = fitted.outcome(features[750:])
    for mine, true in ((told.in_time, ratio), (told.service, np.sqrt(ratio)), (told.credit, ratio)):
        assert np.sqrt(np.mean((mine - true[750:]) ** 2)) < 0.1
    again = fit(features[:750], outcomes[:750], plan)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(fitted.layers, again.layers, strict=True))


def test_trials_of_a_run_are_the_same_each_time_and_differ_by_seed():
    first, again, other = (run_trials([("smart-home", seed)], num_intervals=4) for seed in (700_001, 700_001, 700_002))
    assert np.array_equal(first.radio, again.radio)
    assert np.array_equal(first.task_outcomes, again.task_outcomes)
    assert not np.array_equal(first.packet_outcomes, other.packet_outcomes)
    assert first.radio.shape[:2] == first.packet_outcomes.shape[:2]
    assert first.tasks.shape[:2] == first.task_outcomes.shape[:2]
    # Ten plans on each of three slices in three cells and three intervals, less what had no packets.
    assert first.radio.shape[0] > 15
    assert first.radio.shape[1] == 10
    assert ((first.packet_outcomes >= 0.0) & (first.packet_outcomes <= 1.0)).all()


def test_random_plans_are_feasible_and_of_every_kind():
    rng = np.random.default_rng(5)
    plans = [random_plan(rng, *random_case(seed)) for seed in range(120)]
    assert all(plan.is_within_budget for plan in plans)
    num_pools = sum(all(part.min_pct == 0 for part in plan.slices) for plan in plans)
    assert 20 < num_pools < 60
    assert any(len({part.scheduler for part in plan.slices}) > 1 for plan in plans)


def test_the_shipped_twin_foresees_runs_that_it_did_not_see():
    trials = run_trials([("smart-city", 99_001), ("industrial-iot", 99_001)], num_intervals=6)
    model = embedded_twin()
    for perceptron, features, came in (
        (model.radio, trials.radio, trials.packet_outcomes),
        (model.tasks, trials.tasks, trials.task_outcomes),
    ):
        told = perceptron.outcome(features)
        foreseen = np.stack((told.in_time, told.service, told.credit), axis=-1)
        # Together: in a good run nearly all tasks are served, and of that alone there is nothing to foresee.
        assert ((foreseen - came) ** 2).mean() < 0.75**2 * came.var(axis=(0, 1)).mean()


def test_trials_put_the_plans_of_one_slice_together():
    differs = np.ptp(run_trials([("smart-home", 700_001)], num_intervals=4).radio, axis=1) > 1e-9
    assert differs.any(axis=1).mean() > 0.9
    # Devices, targets and budgets are the slice's: no plan changes them.
    assert (~differs).all(axis=0).sum() >= 8

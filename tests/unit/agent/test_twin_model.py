"""The twin's networks: written, read, refused where they are foreign, and fitted to what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from agent.errors import ModelUnavailable
from agent.expert import candidates
from agent.pretraining.twin_fitting import FittingPlan, fit, fit_twin, plan_loss
from agent.pretraining.twin_networks import Cells, Networks
from agent.pretraining.twin_trials import Trials, cell_trials, random_plan, run_trials
from agent.twin import Twin
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


def _synthetic(num_cells: int, *, seed: int) -> Trials:
    """Six plans in cells of four slices each; what comes of them follows from two of five features."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_cells, 6, 1, 4, 5))
    ratio = 1.0 / (1.0 + np.exp(-2.0 * features[:, :, 0, :, 1] + features[:, :, 0, :, 3]))
    # Whether a credit is had is left to chance: what is told must be its expectation.
    outcomes = np.stack((ratio, np.sqrt(ratio), rng.random(ratio.shape) < ratio), axis=-1)
    per_slice = np.ones((num_cells, 4))
    columns = {
        "radio": features,
        "tasks": features[..., :1],
        "settled_packets": np.full((num_cells, 1, 4), np.nan),
        "settled_tasks": np.full((num_cells, 1, 4), np.nan),
        "packet_outcomes": outcomes,
        "task_outcomes": outcomes,
        "weight": per_slice,
        "contract": per_slice,
        "floor": 0.0 * per_slice,
        "utility": 0.5 * (outcomes[..., 1] + outcomes[..., 2]).mean(axis=-1),
    }
    return Trials(**{name: column.astype(np.float32) for name, column in columns.items()})


def test_fitting_learns_what_decides_and_gives_the_same_networks_twice():
    plan = FittingPlan(num_runs=0, num_epochs=30, first_seed=0, seed=2)
    known, unseen = _synthetic(400, seed=3), _synthetic(100, seed=4)
    model, again = (fit(known, plan).model() for _ in range(2))
    ratio = unseen.packet_outcomes[:, :, None, :, 0]
    with_tasks = np.concatenate((unseen.radio, unseen.tasks), axis=-1)
    for mine, same, features in ((model.radio, again.radio, unseen.radio), (model.tasks, again.tasks, with_tasks)):
        told = mine.outcome(features)
        for foreseen, true in ((told.in_time, ratio), (told.service, np.sqrt(ratio)), (told.credit, ratio)):
            assert np.sqrt(np.mean((foreseen - true) ** 2)) < 0.1
        for layer, other in zip(mine.layers, same.layers, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(layer, other, strict=True))


def test_the_choice_pulls_at_candidates_alone_up_where_they_turned_out_well(monkeypatch):
    utility = torch.tensor([[0.80, 0.90, 0.85, 0.0, 0.0, 0.0]])

    def slope() -> torch.Tensor:
        worth = torch.tensor([[0.84, 0.84, 0.84, 0.5, 0.5, 0.5]], requires_grad=True)
        return torch.autograd.grad(plan_loss(worth, utility), worth)[0][0]

    whole = slope()
    monkeypatch.setattr("agent.pretraining.twin_fitting._CHOICE", 0.0)
    worst, best, middle, *at_random = (whole - slope()).tolist()
    assert best < -100.0 < 100.0 < worst
    assert abs(middle) < 1.0
    assert at_random == [0.0, 0.0, 0.0]


def test_a_small_fit_tells_how_well_it_chooses():
    plan = FittingPlan(num_runs=2, num_epochs=1, first_seed=710_000, seed=1, num_intervals=2)
    runs, epochs = [], []
    model, record = fit_twin(plan, on_run=lambda: runs.append(1), on_epoch=lambda: epochs.append(1))
    assert (len(runs), len(epochs)) == (plan.total_runs, 1)
    assert 0.0 < record["first_plan_utility"] <= record["best_plan_utility"] <= 1.0
    assert record["rms_worth_between_plans"] > 0.0
    # One interval of a run of each of six scenarios is learned from; the first runs before any decision.
    assert record["cell_intervals"] == 22
    assert np.isfinite(model.radio.layers[0][0]).all()


def test_what_is_fitted_is_what_the_twin_tells():
    rng = np.random.default_rng(8)
    cases = [random_case(seed) for seed in range(30)]
    # Tighter budgets than the network's own are reckoned on top of what was fitted.
    cases = [(digest, replace(terms, delay_budget_ms=np.full(len(digest.slices), 1e9))) for digest, terms in cases]
    plans = [[*candidates(*case), random_plan(rng, *case)] for case in cases]
    trials = Trials.join(
        [
            cell_trials(tried, *case, *rng.random((2, len(tried), len(case[0].slices))), seed=12)
            for tried, case in zip(plans, cases, strict=True)
        ]
    )
    torch.manual_seed(6)
    networks = Networks(trials)
    told = networks(Cells.of(trials))[0].detach().numpy()
    twin = Twin(num_futures=4, seed=12, model=networks.model())
    for mine, tried, case in zip(told, plans, cases, strict=True):
        assert mine == pytest.approx(twin.outlook(*case).utilities(tried), abs=2e-5)


def test_trials_of_a_run_are_the_same_each_time_and_differ_by_seed():
    first, again, other = (run_trials([("smart-home", seed)], num_intervals=4) for seed in (700_001, 700_001, 700_002))
    assert np.array_equal(first.radio, again.radio)
    assert np.array_equal(first.task_outcomes, again.task_outcomes, equal_nan=True)
    assert not np.array_equal(first.utility, other.utility)
    # Ten plans in three cells and three intervals.
    assert first.utility.shape == (9, 10)
    assert first.radio.shape[:2] == first.tasks.shape[:2] == first.packet_outcomes.shape[:2] == (9, 10)
    assert (first.utility <= 1.0).all()
    known = first.packet_outcomes[~np.isnan(first.packet_outcomes)]
    assert len(known) > 0.5 * first.packet_outcomes.size
    assert ((known >= 0.0) & (known <= 1.0)).all()


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
    of_tasks = np.concatenate((trials.radio, trials.tasks), axis=-1)
    for perceptron, features, came in (
        (model.radio, trials.radio, trials.packet_outcomes),
        (model.tasks, of_tasks, trials.task_outcomes),
    ):
        told = perceptron.outcome(features.astype(float))
        foreseen = np.stack((told.in_time, told.service, told.credit), axis=-1).mean(axis=2)
        is_known = ~np.isnan(came).any(axis=-1)
        # Together: in a good run nearly all tasks are served, and of that alone there is nothing to foresee.
        assert ((foreseen - came)[is_known] ** 2).mean() < 0.75**2 * came[is_known].var(axis=0).mean()


def test_plans_of_one_cell_stand_together():
    differs = np.ptp(run_trials([("smart-home", 700_001)], num_intervals=4).radio, axis=1) > 1e-6
    assert differs.any(axis=-1).mean() > 0.9
    # Devices, targets and budgets are the slice's: no plan changes them.
    assert (~differs).all(axis=(0, 1, 2)).sum() >= 8

"""The training loop: seeded, resumable at any step, and refusing what does not belong together."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agent.errors import AgentInputInvalid
from agent.pretraining.examples import random_example
from agent.pretraining.new_model import new_model
from agent.pretraining.training import Progress, ShareLabels, TrainingPlan, encode_examples, share_labels, train
from tests.agent_stage import TINY, small_tokenizer

PLAN = TrainingPlan(
    num_steps=8, batch_size=4, learning_rate=3e-3, warmup_steps=2, seed=3, checkpoint_every=4, number_spread=1.5
)


class Interrupted(Exception):
    """Stands for a power cut."""


@cache
def rows() -> tuple[tuple[tuple[int, ...], int], ...]:
    rng = np.random.default_rng(1)
    return encode_examples([random_example(rng) for _ in range(24)], small_tokenizer())


@cache
def labels() -> ShareLabels:
    return share_labels(small_tokenizer(), PLAN.number_spread)


def fresh_model() -> Any:
    return new_model(small_tokenizer(), TINY, seed=9)


def trained(folder: Path, plan: TrainingPlan = PLAN, *, stop_at: int | None = None) -> tuple[Any, float | None]:
    """A model trained from its first weights or from what `folder` holds; cut off behind step `stop_at`."""

    def on_step(progress: Progress) -> None:
        if progress.step == stop_at:
            raise Interrupted

    model = fresh_model()
    return model, train(model, rows(), plan, labels=labels(), folder=folder, on_step=on_step)


def assert_same_weights(first: Any, second: Any) -> None:
    for (name, mine), (_, other) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(mine, other), name


@pytest.mark.parametrize("stop_at", [3, 4, 5, 7])
def test_a_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(tmp_path: Path, stop_at: int) -> None:
    whole, loss = trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "cut", stop_at=stop_at)
    resumed, resumed_loss = trained(tmp_path / "cut")

    assert_same_weights(whole, resumed)
    assert resumed_loss == loss
    tensors, others = (load_file(tmp_path / name / "training_state.safetensors") for name in ("whole", "cut"))
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)


def test_both_optimisers_leave_their_moments_in_the_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path)
    names = load_file(tmp_path / "training_state.safetensors").keys()

    assert any(name.startswith("optimiser.0.") and name.endswith("exp_avg_sq") for name in names)
    assert any(name.startswith("optimiser.1.") and name.endswith("momentum_buffer") for name in names)


def test_a_finished_run_taken_up_again_does_nothing_and_still_knows_its_loss(tmp_path: Path) -> None:
    whole, loss = trained(tmp_path)
    steps: list[Progress] = []
    again = fresh_model()
    told = train(again, rows(), PLAN, labels=labels(), folder=tmp_path, on_step=steps.append)

    assert steps == []
    assert told == loss
    assert_same_weights(whole, again)


def test_a_finished_run_whose_checkpoint_keeps_no_losses_tells_none(tmp_path: Path) -> None:
    trained(tmp_path)
    path = tmp_path / "training_state.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "losses"}, path)

    assert trained(tmp_path)[1] is None


def test_newer_tensors_than_the_small_file_says_are_not_trained_on_twice(tmp_path: Path) -> None:
    whole, _ = trained(tmp_path)
    small = tmp_path / "training_state.json"
    small.write_text(json.dumps(json.loads(small.read_text()) | {"step": 4}))

    assert_same_weights(trained(tmp_path)[0], whole)


def test_the_loss_falls(tmp_path: Path) -> None:
    plan = replace(PLAN, num_steps=30, checkpoint_every=30)
    losses: list[float] = []
    train(
        fresh_model(),
        rows(),
        plan,
        labels=labels(),
        folder=tmp_path,
        on_step=lambda progress: losses.append(progress.loss),
    )

    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"num_steps": 9}, {"learning_rate": 1e-3}, {"number_spread": 0.0}, {"batch_size": 8}]
)
def test_a_folder_with_another_plan_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_at=5)

    with pytest.raises(AgentInputInvalid, match="holds a run with another plan"):
        trained(tmp_path, replace(PLAN, **change))


def test_fewer_rows_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentInputInvalid, match="24 rows, fewer than one batch of 25"):
        trained(tmp_path, replace(PLAN, batch_size=25))


def test_a_share_next_to_the_right_one_counts_as_nearly_right() -> None:
    weight_NN = labels().weight_NN.numpy()

    assert weight_NN.shape == (101, 101)
    assert weight_NN.sum(axis=1) == pytest.approx(np.ones(101), abs=1e-5)
    assert (weight_NN.argmax(axis=1) == np.arange(101)).all()
    # A bell of deviation 1.5: the neighbour at distance 3 has exp(-2) of the peak.
    assert weight_NN[50, 53] / weight_NN[50, 50] == pytest.approx(np.exp(-2.0), rel=1e-4)


def test_labels_go_whole_to_the_device_that_is_named() -> None:
    moved = labels().to(torch.device("meta"))

    for name in ("number_ids_N", "opener_ids", "weight_NN"):
        kept, there = getattr(labels(), name), getattr(moved, name)
        assert (there.device.type, there.shape, there.dtype) == ("meta", kept.shape, kept.dtype)


class LabelsElsewhere:
    """Labels that can be read only where they were sent to."""

    def __init__(self) -> None:
        self.sent_to: list[torch.device] = []

    def to(self, device: torch.device) -> ShareLabels:
        self.sent_to.append(device)
        return labels().to(device)


def test_labels_are_sent_once_to_the_device_that_trains(tmp_path: Path) -> None:
    elsewhere = LabelsElsewhere()
    train(fresh_model(), rows(), PLAN, labels=cast("ShareLabels", elsewhere), folder=tmp_path)

    assert elsewhere.sent_to == [torch.device(PLAN.device)]


def test_only_completions_and_their_end_are_learned() -> None:
    tokenizer = small_tokenizer()
    example = random_example(np.random.default_rng(2))
    ((ids, prompt_length),) = encode_examples([example], tokenizer)

    assert tokenizer.decode(ids[:prompt_length]) == example.prompt
    assert tokenizer.decode(ids[prompt_length:-1]) == example.completion
    assert ids[-1] == tokenizer.token_to_id("<|end|>")

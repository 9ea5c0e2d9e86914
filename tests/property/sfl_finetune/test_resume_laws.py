"""A run that is stopped and resumed, or ends early, is the run it would have been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfl_finetune.errors import CheckpointInvalid
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import SCHEMES, scheme_named
from sfl_finetune.training import RunSettings, train
from tests.federation_stage import assert_same, make_federation, make_sites


@pytest.mark.parametrize("name", SCHEMES)
def test_stopped_and_resumed_run_ends_bit_identical(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {"scheme": scheme_named(name), "dropout": 0.2, "local_steps": 2}
    whole = make_federation(**given)
    train(whole, RunSettings(folder=tmp_path / "whole"))
    stopped = make_federation(**given)
    seen: list[int] = []
    first = train(
        stopped,
        RunSettings(folder=tmp_path / "parts"),
        on_round=lambda report: seen.append(report.round),
        should_stop=lambda: len(seen) >= 3,
    )
    assert first.was_interrupted
    resumed = make_federation(**given)
    second = train(resumed, RunSettings(folder=tmp_path / "parts", is_resumed=True))
    assert (first.num_rounds, second.num_rounds) == (3, 6)
    assert_same(resumed.state, whole.state, atol=0)
    whole_rows, part_rows = ((tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "parts"))
    assert whole_rows == part_rows


STEADY = OptimiserSettings(learning_rate=1e-2, schedule="constant", warmup_share=0.0)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_run_given_more_rounds_equals_one_that_had_them_from_the_start(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {"scheme": scheme_named(name), "dropout": 0.2, "local_steps": 2, "optimiser": STEADY}
    whole = make_federation(**given, num_rounds=3)
    train(whole, RunSettings(folder=tmp_path / "whole"))
    train(make_federation(**given, num_rounds=2), RunSettings(folder=tmp_path / "parts"))
    extended = make_federation(**given, num_rounds=3)
    result = train(extended, RunSettings(folder=tmp_path / "parts", is_resumed=True))
    assert result.num_rounds == 3
    assert_same(extended.state, whole.state, atol=0)
    whole_rows, part_rows = ((tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "parts"))
    assert whole_rows == part_rows


def test_a_run_whose_rates_follow_from_its_length_is_given_no_more_rounds(tmp_path: Path) -> None:
    train(make_federation(num_rounds=3), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="begun for 3 rounds and 4 are asked for, but the learning rates"):
        train(make_federation(num_rounds=4), RunSettings(folder=tmp_path, is_resumed=True))


def test_a_warm_up_that_would_have_been_longer_forbids_more_rounds(tmp_path: Path) -> None:
    warming = OptimiserSettings(learning_rate=1e-2, schedule="constant", warmup_share=0.5)
    train(make_federation(num_rounds=2, optimiser=warming), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="begun for 2 rounds and 6 are asked for"):
        train(make_federation(num_rounds=6, optimiser=warming), RunSettings(folder=tmp_path, is_resumed=True))


def test_a_run_stopped_before_its_first_round_may_have_any_length(tmp_path: Path) -> None:
    train(make_federation(num_rounds=2), RunSettings(folder=tmp_path / "parts"), should_stop=lambda: True)
    whole, resumed = make_federation(num_rounds=3), make_federation(num_rounds=3)
    train(whole, RunSettings(folder=tmp_path / "whole"))
    train(resumed, RunSettings(folder=tmp_path / "parts", is_resumed=True))
    assert_same(resumed.state, whole.state, atol=0)


@pytest.mark.parametrize("optimiser", [STEADY, OptimiserSettings()], ids=["constant", "linear"])
def test_fewer_rounds_than_are_done_are_refused_with_both_numbers(tmp_path: Path, optimiser: OptimiserSettings) -> None:
    train(make_federation(num_rounds=3, optimiser=optimiser), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="has done 3 rounds already and 2 are asked for"):
        train(make_federation(num_rounds=2, optimiser=optimiser), RunSettings(folder=tmp_path, is_resumed=True))


def test_an_evaluation_at_a_former_end_does_not_use_up_a_longer_runs_patience(tmp_path: Path) -> None:
    # So small that no evaluation finds a lower loss: the first is the best.
    still = OptimiserSettings(name="sgd", learning_rate=1e-12, schedule="constant", warmup_share=0.0)
    texts = make_sites("causal_lm")[0].examples
    ended = {}
    for name, lengths in (("whole", (9,)), ("parts", (3, 9))):
        for number, length in enumerate(lengths):
            run = RunSettings(folder=tmp_path / name, evaluate_every=2, patience=2, is_resumed=number > 0)
            ended[name] = train(make_federation(optimiser=still, num_rounds=length), run, validation=texts).num_rounds
    assert ended == {"whole": 6, "parts": 6}


def test_a_fresh_run_stopped_at_once_leaves_the_former_one_as_it_was(tmp_path: Path) -> None:
    run = RunSettings(folder=tmp_path)
    train(make_federation(num_rounds=2), run)
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    train(make_federation(num_rounds=2), run, should_stop=lambda: True)
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()} == before


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(make_federation(), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="another run"):
        train(make_federation(seed=6), RunSettings(folder=tmp_path, is_resumed=True))


@pytest.mark.parametrize("given", [{"dropout": 0.1}, {"alpha": 3}, {"targets": ["q_proj"]}], ids=str)
def test_checkpoint_of_another_adapter_is_refused(tmp_path: Path, given: dict[str, Any]) -> None:
    train(make_federation(num_rounds=1), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="adapter"):
        train(make_federation(num_rounds=1, **given), RunSettings(folder=tmp_path, is_resumed=True))


def test_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match="no readable checkpoint"):
        train(make_federation(), RunSettings(folder=tmp_path, is_resumed=True))


def test_run_ends_early_when_validation_stops_improving(tmp_path: Path) -> None:
    optimiser = OptimiserSettings(name="sgd", learning_rate=1e-12, schedule="constant")
    federation = make_federation(optimiser=optimiser)
    run = RunSettings(folder=tmp_path, evaluate_every=1, patience=2)
    result = train(federation, run, validation=make_sites("causal_lm")[0].examples)
    assert result.num_rounds < 6
    assert not result.was_interrupted

"""`edgewright pretrain` from end to end at its smallest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent import weight_building
from agent.bootstrap import load_model
from agent.commands.pretrain import pretrain
from agent.pretraining.corpus import read_examples
from agent.prompting import TEMPLATE
from agent.weight_building import PretrainingSchedule, Source, StageBudget, build_weights
from tests.agent_stage import TINY, random_prompts

SCHEDULE = PretrainingSchedule(
    seed=3,
    size=TINY,
    stages=(
        StageBudget(
            name="synthetic",
            num_examples=30,
            num_steps=2,
            learning_rate=1e-3,
            number_spread=1.5,
            source=Source.RANDOM,
        ),
        StageBudget(
            name="own",
            num_examples=20,
            num_steps=1,
            learning_rate=1e-3,
            number_spread=0.75,
            source=Source.OWN,
            num_rehearsed=8,
        ),
    ),
    num_evaluated=12,
)


def test_weights_are_built_scored_and_loadable_and_built_once(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def on_step(stage: str, done: int, total: int, loss: float) -> None:
        assert loss > 0
        seen.append((stage, done, total))

    out, work = tmp_path / "out", tmp_path / "work"
    record = build_weights(SCHEDULE, out=out, work=work, device="cpu", on_step=on_step)

    assert seen == [("synthetic", 1, 2), ("synthetic", 2, 2), ("own", 1, 1)]
    assert len(read_examples(work / TEMPLATE / "seed-3" / "synthetic-30.jsonl")) == 30
    own = read_examples(work / TEMPLATE / "seed-3" / "own-20.jsonl")
    assert any('{"1":' in example.prompt for example in own)
    assert {"\nlag " in example.prompt for example in own} == {True, False}
    assert [stage["num_examples"] for stage in record["stages"]] == [30, 28]
    assert record["static"]["num_instances"] == 12
    assert 0.0 < record["static"]["ratio_mean"] <= 1.0
    written = json.loads((out / "training.json").read_text())
    assert written["stages"] == record["stages"]
    assert written["seed"] == 3
    (answer,) = load_model(str(out)).answer(random_prompts([1]))
    assert answer.text.startswith('{"1":')

    seen.clear()
    weights = (out / "model.safetensors").read_bytes()
    again = build_weights(SCHEDULE, out=out, work=work, device="cpu", on_step=on_step)
    assert seen == []
    assert (again["stages"], again["static"]) == (record["stages"], record["static"])
    assert (out / "model.safetensors").read_bytes() == weights


class Interrupted(Exception):
    """Stands for a power cut."""


def test_another_seed_in_the_same_work_folder_learns_from_its_own_rows(tmp_path: Path) -> None:
    def cut(*_: object) -> None:
        raise Interrupted

    def built(seed: int, work: Path, out: Path) -> bytes:
        schedule = replace(SCHEDULE, seed=seed)
        build_weights(schedule, out=out, work=work, device="cpu", on_step=lambda *_: None)
        return (out / "model.safetensors").read_bytes()

    shared = tmp_path / "shared"
    with pytest.raises(Interrupted):
        build_weights(SCHEDULE, out=tmp_path / "cut", work=shared, device="cpu", on_step=cut)
    after = built(7, shared, tmp_path / "after")
    assert after == built(7, tmp_path / "alone", tmp_path / "fresh")
    assert (tmp_path / "after" / "tokenizer.json").read_bytes() == (tmp_path / "fresh" / "tokenizer.json").read_bytes()


def test_weights_that_fall_short_of_their_schedule_fail_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demanding = replace(SCHEDULE, least_gap_closed=0.9)
    monkeypatch.setattr(weight_building, "quick_schedule", lambda **_: demanding)
    paths = ["--out", str(tmp_path / "weights"), "--work", str(tmp_path / "work")]
    ended = CliRunner().invoke(pretrain, ["--quick", *paths])
    assert ended.exit_code == 1
    assert "at least 0.9 was due" in ended.output
    assert (tmp_path / "weights" / "model.safetensors").exists()

"""Stages in a row: each from its own folder, and a record that is JSON to any reader."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import AgentInputInvalid
from agent.models.local import load_local_model
from agent.pretraining.corpus import random_examples, read_examples, write_examples
from agent.pretraining.recipe import Stage, export, train_stages
from agent.pretraining.training import Progress, TrainingPlan
from tests.agent_stage import TINY, random_prompts

PLAN = TrainingPlan(num_steps=4, batch_size=4, warmup_steps=1, seed=2, number_spread=1.5)


def refuse_nan(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def write_synthetic_corpus(path: Path, num_examples: int, *, seed: int) -> Path:
    if not path.exists():
        write_examples(random_examples(num_examples, seed=seed), path)
    return path


def stages(work: Path) -> tuple[Stage, ...]:
    corpus = write_synthetic_corpus(work / "synthetic.jsonl", 40, seed=1)
    return (
        Stage(name="first", corpus=corpus, plan=PLAN),
        Stage(
            name="second",
            corpus=corpus,
            plan=replace(PLAN, learning_rate=1e-3),
            rehearsed=corpus,
            num_rehearsed=30,
        ),
    )


def test_stages_run_in_order_and_are_not_run_again(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    def on_step(name: str, progress: Progress) -> None:
        seen.append((name, progress.step))

    _, _, results = train_stages(stages(tmp_path), size=TINY, seed=4, work=tmp_path, on_step=on_step)
    assert seen == [(name, step) for name in ("first", "second") for step in (1, 2, 3, 4)]
    assert [(r.name, r.num_examples, r.num_steps) for r in results] == [("first", 40, 4), ("second", 70, 4)]

    seen.clear()
    model, tokenizer, again = train_stages(stages(tmp_path), size=TINY, seed=4, work=tmp_path, on_step=on_step)
    assert seen == []
    assert again == results

    export(model, tokenizer, again, tmp_path / "out", facts={"seed": 4})
    record = json.loads((tmp_path / "out" / "training.json").read_text(), parse_constant=refuse_nan)
    assert [stage["loss"] for stage in record["stages"]] == [result.loss for result in results]
    (answer,) = load_local_model(str(tmp_path / "out")).answer(random_prompts([1]))
    assert answer.text.startswith('{"1":')


def test_a_stage_without_known_loss_is_null_in_the_record(tmp_path: Path) -> None:
    model, tokenizer, results = train_stages(stages(tmp_path)[:1], size=TINY, seed=4, work=tmp_path)
    export(model, tokenizer, [replace(results[0], loss=None)], tmp_path / "out", facts={})

    assert '"loss": null' in (tmp_path / "out" / "training.json").read_text()


def test_a_synthetic_corpus_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, same, other = (
        write_synthetic_corpus(tmp_path / f"{name}.jsonl", 12, seed=seed)
        for name, seed in (("first", 1), ("same", 1), ("other", 2))
    )

    assert len(read_examples(first)) == 12
    assert first.read_bytes() == same.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("line", ["{", "[]", '{"prompt": "p"}', '{"prompt": "p", "completion": 3}'])
def test_a_corpus_row_that_can_not_be_read_is_named_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"prompt": "p", "completion": "c"}\n' + line + "\n")

    with pytest.raises(AgentInputInvalid, match=r"corpus\.jsonl:2"):
        read_examples(path)


def test_a_corpus_without_rows_or_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()

    with pytest.raises(AgentInputInvalid, match="holds no rows"):
        read_examples(tmp_path / "empty.jsonl")
    with pytest.raises(AgentInputInvalid, match=r"absent\.jsonl"):
        read_examples(tmp_path / "absent.jsonl")

"""The operator's language: a frozen test set apart from training, and a grammar that can't be left."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from agent.errors import ModelUnavailable
from agent.models.operator_language import ARGUMENTS, call, normal_text, read_calls, write_calls, write_prompt
from agent.models.operator_model import load_operator_model
from agent.models.tiny_llama import Cache, load_tiny_llama
from agent.pretraining.operator_language.examples import held_out_skeletons, operator_examples, training_phrasings
from agent.pretraining.operator_language.held_out import TEST_SHA256, held_out_hash, read_held_out
from agent.pretraining.operator_language.tokenizer import train_operator_tokenizer
from agent.pretraining.tokenizer import save_tokenizer


def test_the_held_out_set_is_the_one_that_was_frozen() -> None:
    assert held_out_hash() == TEST_SHA256
    assert len(read_held_out()) >= 500


def test_no_training_example_says_a_held_out_phrasing() -> None:
    held_out = held_out_skeletons()
    texts = {normal_text(case.text) for case in read_held_out() if case.family in ("decline", "help", "propose_plan")}
    for example in operator_examples(3000, seed=5):
        assert example.prompt.splitlines()[2].removeprefix("u ") not in texts
    assert len(held_out) >= 290


def test_there_are_many_hundred_phrasings_for_every_kind_of_request() -> None:
    phrasings = training_phrasings()
    assert len(phrasings) >= 400
    assert {tool for phrasing in phrasings for tool, _ in phrasing.calls} == set(ARGUMENTS)


def test_the_same_seed_gives_the_same_examples() -> None:
    assert list(operator_examples(50, seed=3)) == list(operator_examples(50, seed=3))


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_calls_survive_writing_and_reading(tool: str) -> None:
    given = call(tool, {"cell": 2, "value": 1.5})
    assert read_calls(write_calls([given])) == (given,)


def test_text_is_made_plain() -> None:
    assert normal_text("How's Cell2 at 5ms?!\n") == "hows cell 2 at 5 ms ? !"
    assert normal_text("vehicles—99.9%") == "vehicles — 99.9 %"
    assert "c cell = ? ; slice = 1 ; plan = ?" in write_prompt("x", ["a"], cell=None, slice_number=1, plan=None)


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    examples = list(islice(operator_examples(500, seed=1), 500))
    tokenizer = train_operator_tokenizer((e.prompt + e.completion for e in examples), vocab_size=2200)
    save_tokenizer(tokenizer, folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_numpy_forward_pass_is_the_frameworks(random_weights: Path) -> None:
    import torch

    theirs = LlamaForCausalLM.from_pretrained(random_weights).eval()
    ours, cache = load_tiny_llama(random_weights), Cache([], [])
    tokens = [5, 17, 300, 42, 8, 1000]
    with torch.no_grad():
        expected = theirs(torch.tensor([tokens])).logits[0, -1].numpy()
    ours.logits(tokens[:4], cache)
    np.testing.assert_allclose(ours.logits(tokens[4:], cache), expected, rtol=1e-3, atol=1e-4)


def test_even_random_weights_write_calls_about_what_exists(random_weights: Path) -> None:
    model = load_operator_model(random_weights)
    for case in read_held_out()[::60]:
        reading = model.read(case.text, cells=case.cells, slices=case.slices)
        for made in reading.calls:
            given = dict(made.arguments)
            assert made.tool in ARGUMENTS
            assert given.get("cell") in (None, *case.cells)
            assert given.get("slice") in (None, *range(1, len(case.slices) + 1))
        assert json.loads(reading.text)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_damaged_weights_are_refused(random_weights: Path, tmp_path: Path, damage: str) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((random_weights / name).read_bytes())
    weights = tmp_path / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        weights.write_bytes(b"not weights at all")
    with pytest.raises(ModelUnavailable):
        load_operator_model(tmp_path)

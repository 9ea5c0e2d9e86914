"""Digests, goals and tiny models for the tests of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from agent.errors import ModelUnavailable
from agent.goal import GoalTerms
from agent.models.local import LocalModel
from agent.models.port import Answer
from agent.pretraining.examples import random_digest, random_example, random_terms
from agent.pretraining.new_model import ModelSize, new_model
from agent.pretraining.tokenizer import END, PAD, train_tokenizer
from agent.prompting import Prompt, write_prompt
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology

TINY = ModelSize(hidden_size=32, num_layers=2, num_heads=2)

TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name=f"site {cell}", x_m=400.0 * cell, y_m=0.0) for cell in (1, 2, 3)),
    slices=tuple(
        SliceProfile(
            id=SliceId(sst=sst),
            name=name,
            five_qi=9,
            delay_budget_ms=budget_ms,
            in_time_target=0.95,
            weight=weight,
            packet_size_bits=8_000.0,
        )
        for sst, name, budget_ms, weight in (
            (1, "video", 300.0, 1.0),
            (2, "control", 20.0, 3.0),
            (3, "meters", 900.0, 1.0),
        )
    ),
)


def random_case(seed: int, *, num_slices: int | None = None) -> tuple[EdgeDigest, GoalTerms]:
    """A possible digest and goal; of `num_slices` slices where given."""
    rng = np.random.default_rng(seed)
    digest = random_digest(rng)
    while num_slices is not None and len(digest.slices) != num_slices:
        digest = random_digest(rng)
    return digest, random_terms(rng, digest)


def random_prompts(seeds: Sequence[int]) -> tuple[Prompt, ...]:
    """The prompts of some random cases."""
    return tuple(write_prompt(*random_case(seed)) for seed in seeds)


@cache
def small_tokenizer() -> Tokenizer:
    """The policy model's own tokenizer, trained on a few examples."""
    rng = np.random.default_rng(5)
    examples = [random_example(rng) for _ in range(40)]
    return train_tokenizer(example.prompt + example.completion for example in examples)


def fast_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The same tokenizer as transformers sees it."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


@cache
def untrained_model(seed: int) -> LocalModel:
    """A tiny model with random weights under the real decoder."""
    tokenizer = small_tokenizer()
    return LocalModel(new_model(tokenizer, TINY, seed=seed), fast_tokenizer(tokenizer), name=f"untrained-{seed}")


class ScriptedModel:
    """A policy model that gives the same answer to everything."""

    name = "scripted"

    def __init__(self, text: str) -> None:
        self._text = text

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        return tuple(Answer(text=self._text, num_tokens=1, num_sampled=1) for _ in prompts)


class AnsweringModel:
    """A policy model whose answers stand beside the prompts they belong to."""

    name = "answering"

    def __init__(self, answers: dict[str, str]) -> None:
        self._answers = answers

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        return tuple(Answer(text=self._answers[p.text], num_tokens=1, num_sampled=1) for p in prompts)


class UnreachableModel:
    """A policy model that is away."""

    name = "unreachable"

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        raise ModelUnavailable(f"nobody answers {len(prompts)} prompts")

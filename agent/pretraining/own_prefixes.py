"""Examples that begin as the model itself would: its own first slices, then the best that can follow them.

Imitation shows a model only perfect beginnings, so it never learns to make up for its own small errors. Here the
teacher completes what the model began. Source: Ross, Gordon and Bagnell 2011 (dataset aggregation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from agent.cell_plan import CellPlan, SlicePlan
from agent.expert import Expert
from agent.goal import GoalTerms
from agent.models.port import PolicyModel
from agent.pretraining.evaluation import Case
from agent.pretraining.examples import Example
from agent.prompting import Prompt, parse_answer, write_answer, write_prompt
from edge_preprocess.digest import EdgeDigest

Teacher = Callable[[Mapping[int, SlicePlan], EdgeDigest, GoalTerms], CellPlan]
"""Completes a plan that leaves some slices, by row, as they are."""

_BATCH = 32
_FORESEEN = 0.5
"""Part of the prompts that tell what the twin foresees: they do wherever a network is planned for."""


def own_prefix_examples(model: PolicyModel, cases: Iterable[Case], teacher: Teacher, *, seed: int) -> Iterator[Example]:
    """One example a case: the prompt with the model's answer up to a random slice, and the teacher's rest."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    remaining = iter(cases)
    while batch := tuple(islice(remaining, _BATCH)):
        prompts = tuple(_prompt(case, is_foreseen=rng.random() < _FORESEEN) for case in batch)
        for case, prompt, answer in zip(batch, prompts, model.answer(prompts), strict=True):
            num_held = int(rng.integers(1, max(prompt.num_slices, 2)))
            yield _example(case, teacher, prompt, parse_answer(answer.text, prompt), num_held)


def _prompt(case: Case, *, is_foreseen: bool) -> Prompt:
    return Expert().foresee(*case).prompt if is_foreseen else write_prompt(*case)


def _example(case: Case, teacher: Teacher, prompt: Prompt, own: CellPlan, num_held: int) -> Example:
    held = {row: own.slices[row] for row in prompt.order[:num_held]}
    text = write_answer(teacher(held, *case), prompt.order)
    begun = _end_of_slice(text, num_held)
    return Example(prompt=prompt.text + text[:begun], completion=text[begun:])


def _end_of_slice(text: str, number: int) -> int:
    """Where the text of that slice ends, before its closing brace: numbers are tokens of their own there."""
    following = text.find(f'}},"{number + 1}":')
    return following if following >= 0 else text.index('},"pow":')

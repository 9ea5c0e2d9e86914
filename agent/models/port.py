"""What a planner needs of a language model, and what a model on this machine needs of its forward pass.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.prompting import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's raw answer to one prompt."""

    text: str
    num_tokens: int
    """Tokens of the answer, forced ones included."""
    num_sampled: int
    """Tokens that the model chose; the rest were the only ones the grammar allowed."""


class Rows(Protocol):
    """Several texts that a language model reads on."""

    def step(self, pending: Sequence[Sequence[int]]) -> Float64[NDArray[np.float64], "B V"]:
        """Read each row's tokens, and the logits after them; what a row without tokens gets means nothing."""
        ...


class Decoder(Protocol):
    """A language model's forward pass over several texts together."""

    def start(self, num_rows: int) -> Rows:
        """Rows without any token yet."""
        ...


class PolicyModel(Protocol):
    """A language model that answers prompts of `agent.prompting`."""

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        """One answer for each prompt, in order; raises ModelUnavailable."""
        ...

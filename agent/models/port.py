"""What a planner needs of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.prompting import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's raw answer to one prompt."""

    text: str
    num_tokens: int
    """Tokens of the answer, forced ones included."""
    num_sampled: int
    """Tokens that the model chose; the rest were the only ones the grammar allowed."""


class PolicyModel(Protocol):
    """A language model that answers prompts of `agent.prompting`."""

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        ...

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        """One answer for each prompt, in order; raises ModelUnavailable."""
        ...

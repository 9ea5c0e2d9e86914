"""A model whose answers are fetched for several intervals at once: a recording does not depend on the decisions."""

from __future__ import annotations

import time
from collections.abc import Sequence

from agent.errors import ModelUnavailable
from agent.models.port import Answer, PolicyModel
from agent.prompting import Prompt
from agent.replay.answer_journal import AnswerJournal


class ReadAheadModel:
    """Answers from what was fetched; equal prompts are asked once."""

    def __init__(self, model: PolicyModel, journal: AnswerJournal | None = None) -> None:
        """`journal` holds answers of an earlier run and keeps those of this one."""
        self._model = model
        self._journal = journal
        self._answers: dict[str, Answer] = {}
        self._reason = "the prompt was never fetched"
        self.elapsed_s = 0.0
        """Spent in the model so far."""
        self.num_failed, self.num_asked = 0, 0
        """Prompts to which no answer came, and all that were asked."""

    @property
    def name(self) -> str:
        """The model's own name."""
        return self._model.name

    @property
    def reason(self) -> str:
        """Why the last failure happened."""
        return self._reason

    def knows(self, prompts: Sequence[Prompt]) -> bool:
        """Whether an earlier run has brought all these answers."""
        return self._journal is not None and all(self._journal.get(prompt.text) is not None for prompt in prompts)

    def fetch(self, prompts: Sequence[Prompt]) -> None:
        """Ask for what is not known yet; what can't be had fails when it is asked for."""
        if self._journal is not None:
            kept = {prompt.text: self._journal.get(prompt.text) for prompt in prompts}
            self._answers.update({text: answer for text, answer in kept.items() if answer is not None})
        wanted = {prompt.text: prompt for prompt in prompts if prompt.text not in self._answers}
        if not wanted:
            return
        self.num_asked += len(wanted)
        began = time.perf_counter()
        try:
            answers = self._model.answer(tuple(wanted.values()))
        except ModelUnavailable as error:
            self._reason = str(error)
            self.num_failed += len(wanted)
        else:
            found = dict(zip(wanted, answers, strict=True))
            self._answers.update(found)
            if self._journal is not None:
                self._journal.keep(found)
        self.elapsed_s += time.perf_counter() - began

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        if any(prompt.text not in self._answers for prompt in prompts):
            raise ModelUnavailable(self._reason)
        return tuple(self._answers[prompt.text] for prompt in prompts)

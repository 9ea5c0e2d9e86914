"""A model's answers on disk as they come, so that an interrupted replay goes on where it stopped.

A header names model and template; then one JSON line an answer. Equal prompts have equal answers, so a replay that
finds them here decides as the interrupted one would have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.errors import AgentInputInvalid
from agent.models.port import Answer
from agent.prompting import TEMPLATE


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Line = TypeVar("_Line", bound=_Contract)


class _Header(_Contract):
    kind: Literal["edgewright-answers"] = "edgewright-answers"
    template: str
    model: str


class _Row(_Contract):
    prompt: str
    text: str
    num_tokens: int
    num_sampled: int


class AnswerJournal:
    """The answers of one model, by prompt."""

    def __init__(self, path: Path, *, model: str) -> None:
        """Read what is there; `model` is a mark of its weights.

        Raises AgentInputInvalid where the file is no journal, another model's, or can't be written.
        """
        self._path = path
        self._header = _Header(template=TEMPLATE, model=model)
        self._answers: dict[str, Answer] = {}
        try:
            if path.exists() and path.stat().st_size:
                self._read(path.read_text(encoding="utf-8"))
            else:
                path.write_text(self._header.model_dump_json() + "\n", encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AgentInputInvalid(f"--resume {str(path)!r}: {error}; a journal of answers was expected") from error

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, prompt: str) -> Answer | None:
        """The answer to a prompt, if it is known."""
        return self._answers.get(_key(prompt))

    def keep(self, answers: Mapping[str, Answer]) -> None:
        """Add answers by their prompts."""
        with self._path.open("a", encoding="utf-8") as file:
            for prompt, answer in answers.items():
                self._answers[_key(prompt)] = answer
                file.write(_Row(prompt=_key(prompt), **asdict(answer)).model_dump_json() + "\n")

    def _read(self, text: str) -> None:
        first, *lines = text.split("\n")
        if self._parse(first, 1, _Header) != self._header:
            wanted = self._header.model_dump_json()
            raise AgentInputInvalid(f"--resume {str(self._path)!r}: holds {first[:200]}; expected answers of {wanted}")
        # A run killed while it wrote leaves half a line behind the last line end; that question is asked again.
        whole = lines[:-1]
        for number, line in enumerate(whole, start=2):
            row = self._parse(line, number, _Row)
            self._answers[row.prompt] = Answer(text=row.text, num_tokens=row.num_tokens, num_sampled=row.num_sampled)
        if lines[-1:] != [""]:
            self._path.write_text("".join(f"{line}\n" for line in (first, *whole)), encoding="utf-8")

    def _parse(self, line: str, number: int, kind: type[_Line]) -> _Line:
        try:
            return kind.model_validate_json(line)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False)[0]
            raise AgentInputInvalid(
                f"--resume {str(self._path)!r}, line {number}: {fault['msg']}; expected a journal of answers"
            ) from error


def _key(prompt: str) -> str:
    return sha256(prompt.encode()).hexdigest()

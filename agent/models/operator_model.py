"""Operator text to tool calls: the small model of `weights/operator` under a grammar of the network's own cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import ModelUnavailable
from agent.models.operator_grammar import END, all_symbols, allowed_symbols, read_symbols
from agent.models.operator_hearing import Heard, hear
from agent.models.operator_language import CHANGING, Call, call
from agent.models.tiny_llama import Cache, TinyLlama, load_tiny_llama

CALIBRATION = "calibration.json"
"""File beside the weights that says how sure the model must be before it may change something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the model made of a request."""

    calls: tuple[Call, ...]
    num_prompt_tokens: int
    num_tokens: int
    """Of the answer."""
    confidence: float
    """Probability of the answer under the grammar (0-1)."""


class OperatorModel:
    """Greedy, so deterministic; every answer is a list of calls with cells, slices and numbers that were said.

    Where it is less sure of a change than `least_confidence`, it asks back instead.
    """

    def __init__(self, model: TinyLlama, tokenizer: Any, *, least_confidence: float) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._least_confidence = least_confidence
        self._ids = {symbol: int(tokenizer.token_to_id(symbol)) for symbol in (*all_symbols(), END)}

    def read(
        self,
        text: str,
        *,
        cells: Sequence[int],
        slices: Sequence[str],
        aliases: Sequence[Sequence[str]] = (),
        cell: int | None = None,
        slice_number: int | None = None,
        plan: int | None = None,
    ) -> Reading:
        """The calls that a request stands for."""
        heard = hear(
            text,
            cells=cells,
            slices=slices,
            aliases=aliases,
            cell=cell,
            slice_number=slice_number,
            has_plan=plan is not None,
        )
        ids: list[int] = self._tokenizer.encode(heard.prompt, add_special_tokens=False).ids
        answer, confidence = self._answer(heard, ids)
        calls = read_symbols(answer, heard)
        if confidence < self._least_confidence and any(each.tool in CHANGING for each in calls):
            calls = (call("ask", {"about": "request"}),)
        return Reading(
            calls=calls,
            num_prompt_tokens=len(ids),
            num_tokens=len(answer),
            confidence=confidence,
        )

    def _answer(self, heard: Heard, ids: Sequence[int]) -> tuple[list[str], float]:
        """Symbols and their joint probability."""
        answer: list[str] = []
        cache, pending, confidence = Cache([], []), list(ids), 1.0
        while options := allowed_symbols(heard, answer):
            best = 0
            if len(options) > 1:
                scores = self._model.logits(pending, cache)[[self._ids[symbol] for symbol in options]]
                best, pending = int(np.argmax(scores)), []
                confidence /= float(np.exp(scores - scores[best]).sum())
            answer.append(options[best])
            pending.append(self._ids[options[best]])
        return answer, confidence


def load_operator_model(folder: Path) -> OperatorModel:
    """Raises ModelUnavailable for missing or damaged files."""
    from tokenizers import Tokenizer

    model = load_tiny_llama(folder)
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception for damaged files
        raise ModelUnavailable(f"tokenizer at {path}: {str(error)[:200]}") from error
    if tokenizer.get_vocab_size() != model.vocab_size:
        raise ModelUnavailable(f"tokenizer at {path}: {tokenizer.get_vocab_size()} tokens for {model.vocab_size}")
    missing = [symbol for symbol in (*all_symbols(), END) if tokenizer.token_to_id(symbol) is None]
    if missing:
        raise ModelUnavailable(f"tokenizer at {path}: lacks the symbols {missing[:5]}")
    return OperatorModel(model, tokenizer, least_confidence=_least_confidence(folder / CALIBRATION))


def _least_confidence(path: Path) -> float:
    try:
        least = float(json.loads(path.read_text(encoding="utf-8"))["least_confidence"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"calibration at {path}: {type(error).__name__}: {str(error)[:200]}") from error
    if not 0.0 <= least <= 1.0:
        raise ModelUnavailable(f"calibration at {path}: least_confidence {least} is outside 0-1")
    return least

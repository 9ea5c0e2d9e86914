"""Operator text to tool calls: the small model of `weights/operator` under a grammar of the network's own cells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llguidance
import numpy as np

from agent.errors import ModelUnavailable
from agent.models.operator_language import Call, Value, answer_schema, read_calls, write_prompt
from agent.models.tiny_llama import Cache, TinyLlama, load_tiny_llama

_END = "<|end|>"
_MAX_TOKENS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the model made of a request."""

    calls: tuple[Call, ...]
    text: str
    """The answer itself, as JSON."""
    num_prompt_tokens: int
    num_tokens: int
    """Of the answer, forced ones included."""
    num_sampled: int


class OperatorModel:
    """Greedy, so deterministic; every answer is a list of calls with cells and slices that exist."""

    def __init__(self, model: TinyLlama, tokenizer: Any, grammar_tokenizer: llguidance.LLTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._grammar_tokenizer = grammar_tokenizer
        self._grammars: dict[tuple[tuple[int, ...], int], str] = {}

    def read(
        self,
        text: str,
        *,
        cells: Sequence[int],
        slices: Sequence[str],
        cell: Value = None,
        slice_number: Value = None,
        plan: Value = None,
    ) -> Reading:
        """The calls that a request stands for; raises ModelUnavailable where the answer does not end."""
        prompt = write_prompt(text, slices, cell=cell, slice_number=slice_number, plan=plan)
        ids: list[int] = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        matcher = llguidance.LLMatcher(self._grammar_tokenizer, self._grammar(tuple(cells), len(slices)))
        cache = Cache([], [])
        answer: list[int] = []
        pending, num_sampled = list(ids), 0
        while not matcher.is_stopped():
            if len(answer) > _MAX_TOKENS:
                raise ModelUnavailable(f"the operator model did not finish within {_MAX_TOKENS} tokens")
            forced = [] if num_sampled or answer else list(matcher.compute_ff_tokens())
            if not forced:
                forced = [self._choose(matcher, self._model.logits(pending, cache))]
                num_sampled, pending = num_sampled + 1, []
            for token in forced:
                if not matcher.consume_token(token):
                    raise ModelUnavailable(f"token {token} breaks the grammar: {matcher.get_error()}")
            if not matcher.is_stopped():
                more = list(matcher.compute_ff_tokens())
                for token in more:
                    matcher.consume_token(token)
                forced += more
            answer += forced
            pending += forced
        end = self._tokenizer.token_to_id(_END)
        written = self._tokenizer.decode([token for token in answer if token != end], skip_special_tokens=False)
        return Reading(
            calls=read_calls(written),
            text=written,
            num_prompt_tokens=len(ids),
            num_tokens=len(answer),
            num_sampled=num_sampled,
        )

    def _choose(self, matcher: llguidance.LLMatcher, logits_V: np.ndarray[Any, Any]) -> int:
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: len(logits_V)].astype(bool)
        if not mask.any():
            raise ModelUnavailable("the grammar allows no token")
        return int(np.argmax(np.where(mask, logits_V, -np.inf)))

    def _grammar(self, cells: tuple[int, ...], num_slices: int) -> str:
        key = (cells, num_slices)
        if key not in self._grammars:
            self._grammars[key] = llguidance.LLMatcher.grammar_from_json_schema(
                json.dumps(answer_schema(cells, num_slices)),
                defaults={"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"},
            )
        return self._grammars[key]


def load_operator_model(folder: Path) -> OperatorModel:
    """Raises ModelUnavailable for missing or damaged files."""
    from tokenizers import Tokenizer

    model = load_tiny_llama(folder)
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
        end = tokenizer.token_to_id(_END)
        grammar_tokenizer = llguidance.LLTokenizer(path.read_text(encoding="utf-8"), eos_token=end)
    except Exception as error:  # tokenizers raises a bare Exception for damaged files
        raise ModelUnavailable(f"tokenizer at {path}: {str(error)[:200]}") from error
    if end is None or tokenizer.get_vocab_size() != model.vocab_size:
        raise ModelUnavailable(f"tokenizer at {path}: {tokenizer.get_vocab_size()} tokens for {model.vocab_size}")
    return OperatorModel(model, tokenizer, grammar_tokenizer)

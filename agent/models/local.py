"""A causal LM on this machine, decoding token by token under a grammar.

Shapes: B prompts, V vocabulary.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher

from agent.errors import ModelUnavailable
from agent.models.answer_state import AnswerState, read_grammar
from agent.models.llama_decoder import LlamaDecoder
from agent.models.port import Answer, Decoder
from agent.models.transformers_decoder import TransformersDecoder
from agent.models.vocabulary import Vocabulary, read_vocabulary
from agent.prompting import TEMPLATE, Prompt, answer_schema

_MAX_STEPS = 1024
_MOST_ROWS = 32
"""Prompts decoded together: a CPU's own caches hold what so many have read, and of 96 each takes a tenth longer."""


class LocalModel:
    """A Hugging Face causal LM whose answers are valid by construction.

    Nothing is drawn at random: equal prompts give equal answers.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        model = model.eval()
        self._decoder: Decoder = LlamaDecoder.of(model) or TransformersDecoder(model)
        self._tokenizer = tokenizer
        self._vocabulary: Vocabulary = read_vocabulary(tokenizer)
        self._name = name
        self._grammars: dict[int, LLMatcher] = {}

    @property
    def name(self) -> str:
        """Short name for logs and reports."""
        return self._name

    def answer(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        """One answer for each prompt, many decoded together."""
        groups = (prompts[first : first + _MOST_ROWS] for first in range(0, len(prompts), _MOST_ROWS))
        return tuple(answer for group in groups for answer in self._answer_together(group))

    @torch.inference_mode()
    def _answer_together(self, prompts: Sequence[Prompt]) -> tuple[Answer, ...]:
        states = [self._blank(prompt.num_slices) for prompt in prompts]
        pending = [
            [*self._tokenizer(p.text, add_special_tokens=True)["input_ids"], *s.forced()]
            for p, s in zip(prompts, states, strict=True)
        ]
        sampled = [0] * len(states)
        rows = self._decoder.start(len(states))
        for _ in range(_MAX_STEPS):
            if all(state.is_done for state in states):
                return tuple(
                    Answer(text=s.text, num_tokens=s.num_tokens, num_sampled=n)
                    for s, n in zip(states, sampled, strict=True)
                )
            logits_BV = rows.step(pending)
            for row, state in enumerate(states):
                pending[row] = [] if state.is_done else self._choose(state, logits_BV[row])
                sampled[row] += bool(pending[row])
        raise ModelUnavailable(f"model {self._name!r} did not finish within {_MAX_STEPS} steps")

    def _blank(self, num_slices: int) -> AnswerState:
        if num_slices not in self._grammars:
            self._grammars[num_slices] = read_grammar(self._vocabulary, answer_schema(num_slices))
        return AnswerState(self._vocabulary, self._grammars[num_slices])

    @staticmethod
    def _choose(state: AnswerState, logits_V: np.ndarray[Any, Any]) -> list[int]:
        token = state.choose(logits_V)
        state.take(token)
        return [token] if state.is_done else [token, *state.forced()]


def load_local_model(path: str, *, adapter: Path | None = None, device: str = "cpu") -> LocalModel:
    """A causal LM from a folder (or a hub name already in the local cache), with a PEFT adapter if given.

    Raises ModelUnavailable for missing, foreign or damaged weights.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    _refuse_other_template(Path(path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model, report = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        _refuse_strangers(path, model, tokenizer, sorted(report["missing_keys"]))
        if adapter is not None:
            model = _with_adapter(model, adapter)
        return LocalModel(model.to(device), tokenizer, name=Path(path).name)
    except ModelUnavailable:
        raise
    except Exception as error:  # transformers, safetensors and peft raise a dozen unrelated types for damaged files
        raise ModelUnavailable(f"model {path!r}: {type(error).__name__}: {str(error)[:300]}") from error


def _refuse_other_template(folder: Path) -> None:
    """Weights that were trained for another form of the prompt would answer, and badly."""
    try:
        template = json.loads((folder / "training.json").read_text(encoding="utf-8"))["template"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    if template != TEMPLATE:
        raise ModelUnavailable(f"model {str(folder)!r}: trained for prompts of template {template!r}, not {TEMPLATE!r}")


def _refuse_strangers(path: str, model: Any, tokenizer: Any, missing: list[str]) -> None:
    # transformers fills missing tensors with random numbers and only warns.
    if missing:
        raise ModelUnavailable(f"model {path!r}: weights lack {len(missing)} tensors: {missing[:3]}")
    if len(tokenizer) > model.config.vocab_size:
        sizes = f"{len(tokenizer)} tokens, the model only {model.config.vocab_size}"
        raise ModelUnavailable(f"model {path!r}: the tokenizer has {sizes}")


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    if not (adapter / "adapter_config.json").is_file():
        raise ModelUnavailable(f"adapter {str(adapter)!r}: no adapter_config.json; expected a PEFT adapter folder")
    with warnings.catch_warnings():
        # peft calls names that transformers is renaming; nothing an operator can act on.
        warnings.simplefilter("ignore", FutureWarning)
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()

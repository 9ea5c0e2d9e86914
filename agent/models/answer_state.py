"""One answer in the making: what the grammar and the budget still allow.

Shapes: V tokens.
"""

from __future__ import annotations

import json
import re
from typing import Any

import llguidance
import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import NDArray

from agent.errors import ModelUnavailable
from agent.models.vocabulary import Vocabulary

_BUDGET = 100
_OPEN_NUMBER = re.compile(r'"(min|cpu)":(\d*)$')
_CLOSED_NUMBER = re.compile(r'"(min|cpu)":(\d+)(?=[^\d])')

TokenMask = Bool[NDArray[np.bool_], " V"]


def _intended(weight: Float64[NDArray[np.float64], " numbers"]) -> int:
    """The number that is meant, given how each from 0 on is weighted: none where that has most of it, else the median.

    Near numbers share the probability of one intention, so the likeliest single number is a poor estimate of it. But to
    guarantee nothing is another intention: the median over both would be a number that neither means.
    """
    if len(weight) <= 2 or 2.0 * weight[:2].sum() > weight.sum():
        return int(np.argmax(weight[:2]))
    share = np.cumsum(weight[2:])
    return 2 + int(np.searchsorted(share, 0.5 * share[-1]))


def read_grammar(vocabulary: Vocabulary, schema: dict[str, Any]) -> llguidance.LLMatcher:
    """A JSON schema as a grammar over the vocabulary's tokens; raises ModelUnavailable where it isn't one."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        json.dumps(schema), defaults={"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
    )
    matcher = llguidance.LLMatcher(vocabulary.grammar_tokenizer, grammar)
    if matcher.is_error():
        raise ModelUnavailable(f"grammar refused: {matcher.get_error()}")
    return matcher


class AnswerState:
    """Grammar matcher plus the budgets a JSON schema can't express: `min` and `cpu` each sum to at most 100."""

    def __init__(self, vocabulary: Vocabulary, grammar: llguidance.LLMatcher) -> None:
        """`grammar` is as `read_grammar` gives it, and stays as it is: reading it takes longer than a short answer."""
        self._vocabulary = vocabulary
        self._matcher = grammar.deep_copy()
        self.text = ""
        self.num_tokens = 0
        self._spent = {"min": 0, "cpu": 0}
        self._last_was_number = False

    @property
    def is_done(self) -> bool:
        """Whether the answer is complete."""
        return bool(self._matcher.is_stopped())

    def forced(self) -> list[int]:
        """The tokens that must come next, already taken; empty when the model has a choice."""
        tokens: list[int] = []
        if self._vocabulary.number_ids is not None and self._last_was_number:
            endings = self._after_number()
            if len(endings) > 1:
                return []
            tokens.append(endings[0])
            self.take(tokens[0])
        more = self._matcher.compute_ff_tokens()
        for token in more:
            self.take(token)
        return tokens + list(more)

    def allowed(self) -> TokenMask:
        """Which tokens may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: len(self._vocabulary.texts)].astype(bool)
        mask &= ~self._vocabulary.hides_number
        open_number = _OPEN_NUMBER.search(self.text)
        if open_number:
            mask &= self._affordable(open_number.group(1), open_number.group(2))
        return mask

    def choose(self, logits_V: Float64[NDArray[np.float64], " V"]) -> int:
        """The token that the model wants among those allowed: the likeliest, for a share `_intended`."""
        if np.isnan(logits_V).any():
            raise ModelUnavailable(f"the model's scores are not numbers after {self.text[-40:]!r}; are its weights?")
        mask = self.allowed()
        numbers = self._vocabulary.number_ids
        if numbers is not None and self._last_was_number:
            endings = np.zeros_like(mask)
            endings[self._after_number()] = True
            mask &= endings
        open_number = _OPEN_NUMBER.search(self.text)
        if numbers is not None and open_number and not open_number.group(2):
            numbers = numbers[mask[numbers]]
            return int(numbers[_intended(np.exp(logits_V[numbers] - logits_V[numbers].max()))])
        token = int(np.argmax(np.where(mask, logits_V[: len(mask)], -np.inf)))
        if not mask[token]:
            raise ModelUnavailable(f"no token is allowed after {self.text[-40:]!r}")
        return token

    def take(self, token: int) -> None:
        """Append one token."""
        if not self._matcher.consume_token(token):
            raise ModelUnavailable(f"token {token} breaks the grammar after {self.text[-40:]!r}")
        piece = (
            ""
            if self._matcher.is_stopped() and token == self._vocabulary.grammar_tokenizer.eos_token
            else (self._vocabulary.texts[token])
        )
        self._count(self.text, piece)
        self.text += piece
        self.num_tokens += 1
        self._last_was_number = piece.isdigit()

    def _affordable(self, key: str, digits: str) -> TokenMask:
        """Tokens that keep the number within what is left of its budget."""
        vocabulary = self._vocabulary
        value = int(digits or 0) * 10**vocabulary.leading_length + vocabulary.leading_value
        mask: TokenMask = (vocabulary.leading_length == 0) | (value <= _BUDGET - self._spent[key])
        return mask

    def _count(self, before: str, piece: str) -> None:
        open_number = _OPEN_NUMBER.search(before)
        tail = before[open_number.start() :] + piece if open_number else piece
        for match in _CLOSED_NUMBER.finditer(tail):
            self._spent[match.group(1)] += int(match.group(2))

    def _after_number(self) -> list[int]:
        """The longest token that ends the number, the one the tokenizer would write, with and without its minus.

        A token may reach as far as the sign of the next number, and that sign is the model's to choose.
        """
        mask = self.allowed() & ~self._vocabulary.starts_with_digit
        if not mask.any():
            raise ModelUnavailable(f"nothing may follow {self.text[-40:]!r}")
        longest = int(np.argmax(np.where(mask, self._vocabulary.text_length, -1)))
        text = self._vocabulary.texts[longest]
        if not text.endswith("-"):
            return [longest]
        return [longest, *(int(token) for token in np.flatnonzero(mask) if self._vocabulary.texts[token] == text[:-1])]

"""What the decoder must know of a tokenizer: the grammar's view of it, and which tokens are digits.

Shapes: V tokens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
from jaxtyping import Bool, Int64
from numpy.typing import NDArray

_DIGITS = re.compile(r"\d+")
_HIDDEN = re.compile(r":\s*\d")
_TOO_LARGE = 10**9
_NUM_PERCENTS = 101


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """A tokenizer seen from the grammar."""

    grammar_tokenizer: llguidance.LLTokenizer
    texts: tuple[str, ...]
    """What each token adds to the answer."""
    leading_value: Int64[NDArray[np.int64], " V"]
    """Number that a token's leading digits spell; 0 where it has none."""
    leading_length: Int64[NDArray[np.int64], " V"]
    """How many leading digits a token has."""
    text_length: Int64[NDArray[np.int64], " V"]
    hides_number: Bool[NDArray[np.bool_], " V"]
    """Tokens with a number behind a colon, which would pass the budget unseen; smaller tokens spell the same."""
    number_ids: Int64[NDArray[np.int64], " numbers"] | None
    """Token of each of 0-100; None where some number takes several tokens."""

    @property
    def starts_with_digit(self) -> Bool[NDArray[np.bool_], " V"]:
        """Mask of tokens whose first character is a digit."""
        return self.leading_length > 0


def read_vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a fast Hugging Face tokenizer."""
    grammar_tokenizer = llguidance.hf.from_tokenizer(tokenizer)
    texts = tuple(
        grammar_tokenizer.decode_bytes([i]).decode("utf-8", "replace") for i in range(grammar_tokenizer.vocab_size)
    )
    digits = [_DIGITS.match(text) for text in texts]
    spelled = [match.group() if match else "" for match in digits]
    numbers = [grammar_tokenizer.tokenize_str(str(n)) for n in range(_NUM_PERCENTS)]
    is_whole = all(len(ids) == 1 for ids in numbers)
    return Vocabulary(
        grammar_tokenizer=grammar_tokenizer,
        texts=texts,
        leading_value=np.array([min(int(s), _TOO_LARGE) if s else 0 for s in spelled]),
        leading_length=np.array([len(s) for s in spelled]),
        text_length=np.array([len(text) for text in texts]),
        hides_number=np.array([bool(_HIDDEN.search(text)) for text in texts]),
        number_ids=np.array([ids[0] for ids in numbers]) if is_whole else None,
    )

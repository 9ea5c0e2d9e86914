"""The embedded model's tokenizer: byte-level BPE in which every number and every piece of skeleton is one token."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|end|>"
PAD = "<|pad|>"
_KEYS = "min|sch|cpu|off|rep|pow|why"
# Numbers, JSON punctuation with the keys it encloses, words with their space and '=', white space, the rest.
_PATTERN = rf"-?\d{{1,3}}|[^\w\s]+(?:(?:{_KEYS})[^\w\s]+)+| ?[A-Za-z_]+=?|\s+| ?[^\w\s]+|[^\s]"
_NUMBERS = (*range(1000), *range(-20, 0))
_EMPHASIS = 20_000


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 2048) -> Tokenizer:
    """A tokenizer that reads any bytes and keeps each number of -20 to 999 as one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_numbers(texts), trainer)
    missing = [n for n in _NUMBERS if len(tokenizer.encode(str(n)).ids) != 1]
    if missing:
        raise ValueError(f"vocab_size {vocab_size} is too small: {len(missing)} numbers have no token of their own")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files that `AutoTokenizer.from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _with_numbers(texts: Iterable[str]) -> Iterator[str]:
    yield from texts
    # Numbers are repeated so that their merges come before any word's.
    for number in _NUMBERS:
        for _ in range(_EMPHASIS // 1000):
            yield " ".join([str(number)] * 50)

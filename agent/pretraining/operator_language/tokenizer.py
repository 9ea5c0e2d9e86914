"""The operator model's tokenizer: byte-level BPE without blanks; numbers and pieces of JSON skeleton are tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from agent.pretraining.tokenizer import END, PAD

_KEYS = "tool|cell|slice|kind|change|value|version|metric|when|yields|about"
_PATTERN = rf"\d{{1,3}}|[\[\]{{}}\",:]+(?:(?:{_KEYS})[\"\[\]{{}},:]+)*|[a-z_]+|[^\w\s]|[^\s]"
_NUMBERS = range(1000)


def train_operator_tokenizer(texts: Iterable[str], *, vocab_size: int = 3072) -> Tokenizer:
    """A tokenizer that reads any bytes, drops blanks and keeps each number up to 999 as one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" +"), behavior="removed"),
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
    return tokenizer


def _with_numbers(texts: Iterable[str]) -> Iterator[str]:
    yield from texts
    # Repeated so that their merges come before rare words'.
    line = " ".join(map(str, _NUMBERS))
    for _ in range(200):
        yield line

"""The operator model's tokenizer: byte-level BPE of words between blanks; every symbol of the grammar is one token."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from agent.models.operator_grammar import all_symbols
from agent.pretraining.tokenizer import END, PAD


def train_operator_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    """A tokenizer that reads any bytes and drops blanks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), behavior="removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    symbols = [AddedToken(symbol, special=True, normalized=False) for symbol in (END, PAD, *all_symbols())]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=symbols,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer

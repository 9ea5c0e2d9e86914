"""A tiny Hugging Face chat model in a folder, untrained, whose words can be put into its mouth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agent.models.folder_chat_model import FolderChatModel

_TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "
)


def write_chat_model(folder: Path) -> None:
    """A model of bytes with random weights, its tokenizer and its chat template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: n for n, symbol in enumerate(["<|end|>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=100_000,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def saying(model: FolderChatModel, next_text: Callable[[], str]) -> None:
    """From now on the model generates these texts, token by token, through its own tokenizer and generation."""
    network, tokenizer = model._load()

    def generate(**given: Any) -> None:
        streamer, criteria = given["streamer"], given["stopping_criteria"]
        streamer.put(given["input_ids"][0])
        for token in tokenizer.encode(next_text(), add_special_tokens=False)[: given["max_new_tokens"]]:
            if any(criterion(None, None) for criterion in criteria):
                break
            streamer.put(torch.tensor([token]))
        streamer.end()

    network.generate = generate

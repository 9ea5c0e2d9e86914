"""The embedded model before training: a small Llama whose number tokens start out ordered."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from agent.pretraining.tokenizer import END, PAD

_NUM_NUMBERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Width and depth of the embedded model."""

    hidden_size: int = 128
    num_layers: int = 5
    num_heads: int = 4

    @property
    def intermediate_size(self) -> int:
        """Width of the gated feed-forward layer: 8/3 of the hidden size, in multiples of 16 (Shazeer 2020)."""
        return self.hidden_size * 8 // 3 // 16 * 16


def new_model(tokenizer: Tokenizer, size: ModelSize, *, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    _order_numbers(model, tokenizer)
    return model


def _order_numbers(model: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    """Give number tokens sinusoids of their value, so that near numbers start with near vectors."""
    weight_VD = model.get_input_embeddings().weight
    half = weight_VD.shape[1] // 2
    scale = float(weight_VD.detach().std())
    periods = torch.logspace(0.6, 3.3, half)
    with torch.no_grad():
        for number in range(_NUM_NUMBERS):
            token = tokenizer.token_to_id(str(number))
            angle = 2.0 * torch.pi * number / periods
            weight_VD[token] = scale * torch.cat((torch.sin(angle), torch.cos(angle)))

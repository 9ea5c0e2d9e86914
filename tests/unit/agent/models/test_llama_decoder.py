"""The bare forward pass gives what transformers gives, row by row, whatever was decoded before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from agent.models.llama_decoder import LlamaDecoder
from agent.models.transformers_decoder import TransformersDecoder

STEPS = (
    ([3, 1, 4, 1, 5, 9], [2, 6], [5, 3, 5]),
    ([8], [9, 7, 9, 3], []),
    ([2, 3], [8, 4], [6, 2, 6, 4, 3]),
    ([], [3], []),
)


def llama(**given: object) -> LlamaForCausalLM:
    torch.manual_seed(3)
    size = {"vocab_size": 11, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3}
    model = LlamaForCausalLM(LlamaConfig(**{**size, "num_attention_heads": 4, "num_key_value_heads": 4, **given}))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(
    "given", [{}, {"num_key_value_heads": 2}, {"head_dim": 8}, {"tie_word_embeddings": True}, {"rms_norm_eps": 1e-3}]
)
@pytest.mark.parametrize("kind", [LlamaDecoder, TransformersDecoder])
@torch.inference_mode()
def test_logits_are_those_of_the_whole_text_read_at_once(
    given: dict[str, object], kind: type[LlamaDecoder | TransformersDecoder]
) -> None:
    model = llama(**given)
    rows, read = kind(model).start(3), [[], [], []]
    for pending in STEPS:
        logits_BV = rows.step(pending)
        for row, tokens in enumerate(pending):
            read[row] += tokens
            if tokens:
                alone = model(torch.tensor([read[row]])).logits[0, -1].numpy()
                np.testing.assert_allclose(logits_BV[row], alone, atol=2e-5)


@torch.inference_mode()
def test_caches_grow_beyond_their_first_room() -> None:
    model = llama()
    rows, read = LlamaDecoder(model).start(1), []
    for number in range(3):
        tokens = [(7 * number + place) % 11 for place in range(200)]
        read += tokens
        logits_BV = rows.step([tokens])
    np.testing.assert_allclose(logits_BV[0], model(torch.tensor([read])).logits[0, -1].numpy(), atol=2e-5)


@torch.inference_mode()
def test_half_precision_stays_what_it_is() -> None:
    model = llama().to(torch.bfloat16)
    rows, read = LlamaDecoder(model).start(1), []
    for tokens in ([3, 1, 4], [1, 5], [9]):
        read += tokens
        logits_BV = rows.step([tokens])
        alone = model(torch.tensor([read])).logits[0, -1].double().numpy()
        np.testing.assert_allclose(logits_BV[0], alone, atol=0.15 * np.abs(alone).max())


def with_adapter() -> torch.nn.Module:
    found: torch.nn.Module = inject_adapter_in_model(LoraConfig(target_modules=["v_proj"]), llama())
    return found


@pytest.mark.parametrize(
    "model",
    [
        GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=2, n_positions=16)),
        with_adapter(),
        llama(attention_bias=True),
        llama(mlp_bias=True),
        llama(hidden_act="gelu"),
        llama(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}),
    ],
)
def test_only_a_plain_llama_is_decoded_bare(model: torch.nn.Module) -> None:
    assert LlamaDecoder.of(model) is None
    assert LlamaDecoder.of(llama()) is not None

"""From phrasings to the weights that understand operators; about twelve minutes on one core."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.pretraining.operator_language.examples import operator_examples
from agent.pretraining.operator_language.held_out import TEST_SHA256, held_out_hash
from agent.pretraining.operator_language.tokenizer import train_operator_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    from agent.pretraining.training import Progress

_HIDDEN, _LAYERS, _HEADS = 128, 3, 4
_TOKENIZER_SAMPLE = 12_000


def train_operator_model(
    out: Path,
    *,
    seed: int,
    num_steps: int = 2400,
    batch_size: int = 64,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> float | None:
    """Write weights (bf16), tokenizer and record to `out` and return the last loss; resumed from `out/.work`."""
    import torch

    from agent.pretraining.tokenizer import save_tokenizer
    from agent.pretraining.training import TrainingPlan, encode_examples, train

    torch.set_num_threads(1)
    examples = tuple(operator_examples(num_steps * batch_size, seed=seed))
    tokenizer = train_operator_tokenizer(e.prompt + e.completion for e in examples[:_TOKENIZER_SAMPLE])
    model = _new_model(tokenizer, seed)
    plan = TrainingPlan(
        num_steps=num_steps,
        batch_size=batch_size,
        learning_rate=3e-3,
        warmup_steps=60,
        seed=seed,
        use_bf16=True,
        checkpoint_every=60,
    )
    rows = encode_examples(examples, tokenizer)
    loss = train(model, rows, plan, folder=out / ".work", on_step=on_step)
    save_tokenizer(tokenizer, out)
    model.to(torch.bfloat16).save_pretrained(str(out))
    record = {
        "loss": loss,
        "num_steps": num_steps,
        "batch_size": batch_size,
        "seed": seed,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "held_out_sha256": held_out_hash(),
        "held_out_is_frozen": held_out_hash() == TEST_SHA256,
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    return loss


def _new_model(tokenizer: Tokenizer, seed: int) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from agent.pretraining.tokenizer import END, PAD

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=_HIDDEN,
            intermediate_size=_HIDDEN * 8 // 3 // 16 * 16,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            num_key_value_heads=_HEADS,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.token_to_id(END),
            pad_token_id=tokenizer.token_to_id(PAD),
            bos_token_id=None,
        )
    )

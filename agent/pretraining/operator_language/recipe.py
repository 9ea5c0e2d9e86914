"""From nicknames and phrasings to the weights that understand operators; about an hour (docs/operator-model.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.pretraining.kept_rows import Rows, kept_rows
from agent.pretraining.operator_language.examples import operator_examples
from agent.pretraining.operator_language.held_out import TEST_SHA256, held_out_hash
from agent.pretraining.operator_language.naming import naming_examples
from agent.pretraining.operator_language.tokenizer import train_operator_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

    from agent.pretraining.examples import Example
    from agent.pretraining.training import Progress, TrainingPlan

_HIDDEN, _LAYERS, _HEADS = 192, 4, 4
_VOCAB_SIZE = 4096
"""Enough that most nicknames stay whole words."""
_TOKENIZER_SAMPLE = 20_000
NUM_STEPS = 6500
"""On phrasings; the shipped weights took 2,210 more (docs/operator-model.md)."""
_NUM_STEPS_PER_NAMING_STEP = 6
"""Steps on phrasings for each step on nicknames alone, which come first."""
_NAMING_BATCH_SIZE = 128
_SECONDS_PER_NAMING_STEP, _SECONDS_PER_STEP = 0.8, 0.6
"""Measured on one core with AVX2, the making of examples included; with instructions for bf16 less than half."""
_PASSES = 2
"""How often each example is seen."""
_MERGE_DROPOUT = 0.05
"""Share of a word's merges left out in training, so that unseen words made of known pieces are no surprise.

Source: Provilkov et al. 2020, BPE-dropout.
"""


def train_operator_model(
    out: Path,
    *,
    work: Path,
    seed: int,
    num_steps: int = NUM_STEPS,
    batch_size: int = 64,
    on_step: Callable[[Progress], None] = lambda _: None,
) -> float | None:
    """Write weights (bf16), tokenizer, calibration and record to `out`; the last loss. Resumed from `work`."""
    import torch

    from agent.pretraining.operator_language.calibration import calibrate
    from agent.pretraining.training import TrainingPlan, train

    torch.set_num_threads(1)
    examples = tuple(operator_examples(num_steps * batch_size // _PASSES, seed=seed))
    tokenizer = train_operator_tokenizer((e.prompt for e in examples[:_TOKENIZER_SAMPLE]), vocab_size=_VOCAB_SIZE)
    model = _new_model(tokenizer, seed)
    plan = TrainingPlan(
        num_steps=num_steps,
        batch_size=batch_size,
        learning_rate=4e-3,
        warmup_steps=40,
        seed=seed,
        use_bf16=True,
        checkpoint_every=50,
    )
    num_naming_steps = _learn_names(model, tokenizer, plan, work / "names")
    folder = work / "phrasings"
    loss = train(model, _encode(examples, tokenizer, folder), plan, folder=folder, on_step=on_step)
    _export(model, tokenizer, out)
    record = {
        "loss": loss,
        "num_naming_steps": num_naming_steps,
        "num_steps": num_steps,
        "batch_size": batch_size,
        "seed": seed,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "held_out_sha256": held_out_hash(),
        "held_out_is_frozen": held_out_hash() == TEST_SHA256,
        "validation": calibrate(out, seed=seed),
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    return loss


def expected_cpu_minutes(num_steps: int) -> float:
    """Of `num_steps` on phrasings and those on nicknames before, on one core."""
    return (naming_steps(num_steps) * _SECONDS_PER_NAMING_STEP + num_steps * _SECONDS_PER_STEP) / 60.0


def naming_steps(num_steps: int) -> int:
    """Steps on nicknames alone that come before `num_steps` on phrasings; at least what one batch of them needs."""
    return max(num_steps // _NUM_STEPS_PER_NAMING_STEP, _PASSES)


def _learn_names(model: LlamaForCausalLM, tokenizer: Tokenizer, plan: TrainingPlan, folder: Path) -> int:
    """The first lessons; how many steps they took."""
    from agent.pretraining.training import train

    own = replace(plan, num_steps=naming_steps(plan.num_steps), batch_size=_NAMING_BATCH_SIZE)
    names = tuple(naming_examples(own.num_steps * own.batch_size // _PASSES, seed=own.seed))
    train(model, _encode(names, tokenizer, folder), own, folder=folder)
    return own.num_steps


def _encode(examples: Sequence[Example], tokenizer: Tokenizer, folder: Path) -> Rows:
    """Token ids and the prompt's length of each example, as they were first encoded for `folder`.

    They are kept there, since the library draws the merges to leave out from a generator that takes no seed.
    """
    mark = hashlib.sha256(f"{examples}|{tokenizer.to_str()}|{_MERGE_DROPOUT}".encode())
    path = folder / f"rows-{mark.hexdigest()[:16]}.safetensors"
    return kept_rows(path, lambda: _encode_with_fewer_merges(examples, tokenizer))


def _encode_with_fewer_merges(examples: Sequence[Example], tokenizer: Tokenizer) -> Rows:
    """Other ids at each call; the symbols of names, numbers and calls stay whole."""
    from agent.pretraining.training import encode_examples

    tokenizer.model.dropout = _MERGE_DROPOUT
    rows = encode_examples(examples, tokenizer)
    tokenizer.model.dropout = None
    return rows


def _export(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Weights (bf16) and tokenizer, which ask back at changes until they are calibrated."""
    import torch

    from agent.pretraining.operator_language.calibration import ask_back_until_calibrated
    from agent.pretraining.tokenizer import save_tokenizer

    ask_back_until_calibrated(out)
    save_tokenizer(tokenizer, out)
    model.to(torch.bfloat16).save_pretrained(str(out))


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

"""Small models, sites and federations whose results can be compared, for the tests of split fine-tuning."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, TaskType
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
)

from sfl_finetune.anatomy import anatomy
from sfl_finetune.corpus import IGNORED, Example, Site
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.lora import linear_targets
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import memory_efficient

SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
PLAIN_SGD = OptimiserSettings(name="sgd", learning_rate=0.5, clip_norm=None, schedule="constant", warmup_share=0.0)


def make_model(task: str, family: str = "llama") -> Any:
    torch.manual_seed(2)
    if family == "gpt2":
        config = GPT2Config(vocab_size=40, n_embd=16, n_layer=3, n_head=2, n_positions=16)
        return AutoModelForCausalLM.from_config(config)
    if task == "classification":
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = BertConfig(**SIZES, intermediate_size=24, max_position_embeddings=16, num_labels=3, **off)
        return AutoModelForSequenceClassification.from_config(config)
    return AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, intermediate_size=24, num_key_value_heads=1))


def make_sites(task: str, *, texts: int = 4, sites: int = 3) -> tuple[Site, ...]:
    generator = torch.Generator().manual_seed(9)

    def example() -> Example:
        length = int(torch.randint(4, 9, (), generator=generator))
        ids = torch.randint(2, 40, (length,), generator=generator).tolist()
        targets = [int(ids[0]) % 3] if task == "classification" else [IGNORED, IGNORED, *ids[2:]]
        return Example(token_ids=tuple(ids), targets=tuple(targets))

    return tuple(Site(name=f"site{number}", examples=tuple(example() for _ in range(texts))) for number in range(sites))


def make_federation(
    task: str = "causal_lm",
    *,
    family: str = "llama",
    dropout: float = 0.0,
    rank: int = 2,
    alpha: int = 8,
    targets: Any = None,
    faults: Any = (),
    order: Any = None,
    clock: Any = None,
    **given: Any,
) -> Federation:
    settings = FederationSettings(
        **{"task": task, "scheme": memory_efficient(), "batch_size": 4, "num_rounds": 6, "seed": 5, **given}
    )
    model = make_model(task, family)
    adapter = LoraConfig(
        r=rank,
        fan_in_fan_out=family == "gpt2",
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets or linear_targets(model, anatomy(model)),
        init_lora_weights=False,
        task_type=TaskType.SEQ_CLS if task == "classification" else TaskType.CAUSAL_LM,
    )
    return Federation(
        model, adapter, make_sites(task), settings, faults=faults, serve_order=order, finish_seconds=clock
    )


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], atol: float = 1e-6) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=lambda text, n=name: f"{n}: {text}")

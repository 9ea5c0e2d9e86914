"""The law of the split: loss and every gradient equal the unsplit model's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import IA3Config, LNTuningConfig, LoraConfig, TaskType
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
)

from sfl_finetune.anatomy import anatomy
from sfl_finetune.lora import attach, check_placement, linear_targets
from sfl_finetune.split import Segment, client_segment, head_segment, server_segment

_LAYERS = 3
_SMALL: dict[str, Any] = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": _LAYERS, "num_attention_heads": 2}
_ENCODER: dict[str, Any] = _SMALL | {"intermediate_size": 24, "max_position_embeddings": 24, "num_labels": 4}
_DECODER: dict[str, Any] = _SMALL | {"intermediate_size": 24, "num_key_value_heads": 1, "head_dim": 8}

CLASSIFIERS: dict[str, PretrainedConfig] = {
    "bert": BertConfig(**_ENCODER),
    "roberta": RobertaConfig(**_ENCODER),
    "distilbert": DistilBertConfig(
        vocab_size=50, dim=16, n_layers=_LAYERS, n_heads=2, hidden_dim=24, max_position_embeddings=24, num_labels=4
    ),
}
LANGUAGE_MODELS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(vocab_size=50, n_embd=16, n_layer=_LAYERS, n_head=2, n_positions=24),
    "llama": LlamaConfig(**_DECODER),
    "qwen2": Qwen2Config(**_DECODER | {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "qwen3": Qwen3Config(**_DECODER),
    "mistral": MistralConfig(**_DECODER),
    "gemma": GemmaConfig(**_DECODER),
    "bert": BertConfig(**_ENCODER, is_decoder=True),
    "roberta": RobertaConfig(**_ENCODER, is_decoder=True),
}
_CASES = [
    *(("classification", family) for family in CLASSIFIERS),
    *(("causal_lm", family) for family in LANGUAGE_MODELS),
]


def make_model(task: str, family: str, *, dropout: float = 0.0) -> PreTrainedModel:
    torch.manual_seed(7)
    if task == "classification":
        config = CLASSIFIERS[family]
        auto: Any = AutoModelForSequenceClassification
    else:
        config = LANGUAGE_MODELS[family]
        auto = AutoModelForCausalLM
    for name in (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "dropout",
        "attention_dropout",
        "seq_classif_dropout",
        "resid_pdrop",
        "embd_pdrop",
        "attn_pdrop",
    ):
        if hasattr(config, name):
            setattr(config, name, dropout)
    return auto.from_config(config)  # type: ignore[no-any-return]


def with_lora(model: PreTrainedModel, task: str) -> PreTrainedModel:
    # B is drawn at random: with B = 0 the gradient of A would vanish and prove nothing.
    config = LoraConfig(
        r=4,
        target_modules=linear_targets(model, anatomy(model)),
        init_lora_weights=False,
        fan_in_fan_out=model.config.model_type == "gpt2",
        task_type=TaskType.SEQ_CLS if task == "classification" else TaskType.CAUSAL_LM,
    )
    return attach(model, config, seed=3).base_model.model


def batch(task: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(2, 50, (3, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    mask[2, 3:] = 0
    if task == "classification":
        return ids, mask, torch.tensor([0, 3, 1])
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :2] = -100
    return ids, mask, labels


def whole_step(model: PreTrainedModel, task: str) -> tuple[float, dict[str, torch.Tensor]]:
    ids, mask, labels = batch(task)
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing, missing
    return float(loss.detach()), {name: gradient for name, gradient in gradients.items() if gradient is not None}


def split_step(
    model: PreTrainedModel, task: str, cut_layer: int, *, is_u_shaped: bool, checkpointing: bool = False
) -> tuple[float, dict[str, torch.Tensor]]:
    parts = anatomy(model)
    check_placement(model, parts)
    client = client_segment(model, parts, cut_layer=cut_layer).train()
    server = server_segment(model, parts, cut_layer=cut_layer, is_u_shaped=is_u_shaped).train()
    segments: list[Segment] = [client, server]
    if checkpointing:
        for segment in segments:
            segment.checkpoint_activations()
    ids, mask, labels = batch(task)
    sent = client(ids, mask)
    received = sent.detach().clone().requires_grad_()
    if is_u_shaped:
        head = head_segment(model, parts).train()
        segments.append(head)
        features = server(received, mask)
        back = features.detach().clone().requires_grad_()
        loss = head(back, mask, labels).loss
        loss.backward()
        features.backward(back.grad)
    else:
        loss = server(received, mask, labels).loss
        loss.backward()
    sent.backward(received.grad)
    gradients = {
        name.removeprefix("model."): weight.grad
        for segment in segments
        for name, weight in segment.named_parameters()
        if weight.requires_grad
    }
    return float(loss.detach()), {name: gradient for name, gradient in gradients.items() if gradient is not None}


def assert_equal(whole: tuple[float, dict[str, torch.Tensor]], split: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert split[0] == pytest.approx(whole[0], abs=1e-6)
    assert split[1].keys() == whole[1].keys()
    for name, gradient in whole[1].items():
        torch.testing.assert_close(split[1][name], gradient, rtol=0, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("is_u_shaped", [False, True], ids=["head_at_server", "u_shaped"])
@pytest.mark.parametrize("cut_layer", range(1, _LAYERS))
@pytest.mark.parametrize(("task", "family"), _CASES)
def test_loss_and_every_gradient_equal_the_whole_models(
    task: str, family: str, cut_layer: int, is_u_shaped: bool
) -> None:
    model = with_lora(make_model(task, family), task).train()
    whole = whole_step(model, task)
    model.zero_grad()
    assert_equal(whole, split_step(model, task, cut_layer, is_u_shaped=is_u_shaped))


@pytest.mark.parametrize(("task", "family"), _CASES)
def test_checkpointing_changes_no_gradient(task: str, family: str) -> None:
    model = with_lora(make_model(task, family), task).train()
    whole = whole_step(model, task)
    model.zero_grad()
    for is_u_shaped in (False, True):
        assert_equal(whole, split_step(model, task, 1, is_u_shaped=is_u_shaped, checkpointing=True))


@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_every_weight_of_the_base_gets_its_gradient_too(family: str) -> None:
    task = "classification" if family == "bert" else "causal_lm"
    model = make_model(task, family).train()
    # Tied weights lie on both sides of the link; each side then holds a part of the gradient.
    model.config.tie_word_embeddings = False
    if hasattr(model, "lm_head"):
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    whole = whole_step(model, task)
    model.zero_grad()
    assert_equal(whole, split_step(model, task, 2, is_u_shaped=False))


# peft knows LayerNorm but warns of RMSNorm, whose weights it tunes all the same.
@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")
@pytest.mark.parametrize(
    ("task", "family", "config"),
    [
        ("causal_lm", "llama", IA3Config(task_type=TaskType.CAUSAL_LM)),
        ("classification", "bert", IA3Config(task_type=TaskType.SEQ_CLS)),
        ("causal_lm", "llama", LNTuningConfig(task_type=TaskType.CAUSAL_LM)),
        (
            "causal_lm",
            "gpt2",
            LoraConfig(task_type=TaskType.CAUSAL_LM, bias="all", init_lora_weights=False, fan_in_fan_out=True),
        ),
    ],
    ids=["ia3_llama", "ia3_bert", "layernorm_llama", "bias_gpt2"],
)
def test_additive_and_selective_methods_split_as_exactly(task: str, family: str, config: Any) -> None:
    model = attach(make_model(task, family), config, seed=3).base_model.model.train()
    for name, weight in model.named_parameters():
        weight.requires_grad_(weight.requires_grad and not name.startswith("bert.pooler.original"))
    whole = whole_step(model, task)
    model.zero_grad()
    for is_u_shaped in (False, True):
        assert_equal(whole, split_step(model, task, 1, is_u_shaped=is_u_shaped))

"""What a round must keep: it equals centralised training where theory says so, and survives its clients' faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    LlamaConfig,
    T5Config,
)

from sfl_finetune.anatomy import anatomy
from sfl_finetune.batches import collate
from sfl_finetune.corpus import IGNORED, Example, Site
from sfl_finetune.errors import CheckpointInvalid, ModelUnsupported, SettingInvalid, TrainingFailed
from sfl_finetune.faults import Fault
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.lora import linear_targets, load_state
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import SCHEMES, batched, lean, memory_efficient, scheme_named, sfl, sl
from sfl_finetune.training import RunSettings, train
from sfl_finetune.wire import Message

_SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
_PLAIN_SGD = OptimiserSettings(name="sgd", learning_rate=0.5, clip_norm=None, schedule="constant", warmup_share=0.0)
# Adam divides by the root of tiny second moments, so what rounding leaves grows with the rate.
_PLAIN_ADAM = OptimiserSettings(learning_rate=1e-3, clip_norm=None, schedule="constant", warmup_share=0.0)


def make_model(task: str, family: str = "llama") -> Any:
    torch.manual_seed(2)
    if family == "gpt2":
        config = GPT2Config(vocab_size=40, n_embd=16, n_layer=3, n_head=2, n_positions=16)
        return AutoModelForCausalLM.from_config(config)
    if task == "classification":
        off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = BertConfig(**_SIZES, intermediate_size=24, max_position_embeddings=16, num_labels=3, **off)
        return AutoModelForSequenceClassification.from_config(config)
    return AutoModelForCausalLM.from_config(LlamaConfig(**_SIZES, intermediate_size=24, num_key_value_heads=1))


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
    faults: Any = (),
    order: Any = None,
    **given: Any,
) -> Federation:
    settings = FederationSettings(
        **{"task": task, "scheme": memory_efficient(), "batch_size": 4, "num_rounds": 6, "seed": 5, **given}
    )
    model = make_model(task, family)
    adapter = LoraConfig(
        r=2,
        fan_in_fan_out=family == "gpt2",
        lora_dropout=dropout,
        target_modules=linear_targets(model, anatomy(model)),
        init_lora_weights=False,
        task_type=TaskType.SEQ_CLS if task == "classification" else TaskType.CAUSAL_LM,
    )
    return Federation(model, adapter, make_sites(task), settings, faults=faults, serve_order=order)


def centralised_state(task: str, optimiser: OptimiserSettings, num_steps: int) -> dict[str, torch.Tensor]:
    """One optimiser on the mean loss over all sites' texts at once."""
    federation = make_federation(task, optimiser=optimiser)
    model = federation.model
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    kind = torch.optim.SGD if optimiser.name == "sgd" else torch.optim.AdamW
    optimise = kind(weights, lr=optimiser.learning_rate, weight_decay=0.0)
    batch = collate([example for site in make_sites(task) for example in site.examples], federation.settings.task)
    for _ in range(num_steps):
        model(input_ids=batch.token_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
        optimise.step()
        optimise.zero_grad()
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], atol: float = 1e-6) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("is_u_shaped", [False, True])
@pytest.mark.parametrize("task", ["classification", "causal_lm"])
def test_one_local_sgd_step_and_fedavg_equal_one_centralised_step(task: str, is_u_shaped: bool) -> None:
    federation = make_federation(task, optimiser=_PLAIN_SGD, is_u_shaped=is_u_shaped)
    before = {name: value.clone() for name, value in federation.state.items()}
    federation.run_round(0)
    assert_same(federation.state, centralised_state(task, _PLAIN_SGD, 1))
    assert max(float((federation.state[name] - before[name]).abs().max()) for name in before) > 1e-4


def test_adam_equals_centralised_training_when_gradients_are_averaged() -> None:
    federation = make_federation(optimiser=_PLAIN_ADAM, sync="gradients")
    for round_ in range(3):
        federation.run_round(round_)
    assert_same(federation.state, centralised_state("causal_lm", _PLAIN_ADAM, 3))


@pytest.mark.parametrize("order", [None, lambda names: sorted(names, reverse=True)])
@pytest.mark.parametrize(
    "scheme", [sfl(), replace(memory_efficient(), checkpointing=True), replace(lean(), wire="fp32")]
)
def test_sharing_base_order_and_checkpointing_change_no_result(scheme: Any, order: Any) -> None:
    plain = make_federation(local_steps=2, dropout=0.1)
    other = make_federation(local_steps=2, dropout=0.1, scheme=scheme, order=order)
    for round_ in range(2):
        plain.run_round(round_)
        other.run_round(round_)
    assert_same(other.state, plain.state)


@pytest.mark.parametrize("cut_layer", [1, {"site0": 1, "site1": 2, "site2": 1}], ids=["one cut", "mixed cuts"])
@pytest.mark.parametrize("task", ["classification", "causal_lm"])
def test_one_pass_for_all_clients_changes_no_result(task: str, cut_layer: Any) -> None:
    # At ten times this rate the model magnifies what rounding leaves after four steps to 5e-6.
    optimiser = replace(_PLAIN_SGD, learning_rate=0.05)
    given: dict[str, Any] = {"local_steps": 2, "optimiser": optimiser, "cut_layer": cut_layer, "batch_size": 2}
    plain = make_federation(task, **given)
    together = make_federation(task, scheme=replace(batched(), wire="fp32"), **given)
    for round_ in range(2):
        wanted, found = plain.run_round(round_), together.run_round(round_)
        assert found.loss == pytest.approx(wanted.loss, abs=1e-5)
        assert found.num_targets == wanted.num_targets
    assert_same(together.state, plain.state)


@pytest.mark.parametrize("kind", ["vanish", "nan", "shape", "oversize", "absent"])
def test_one_pass_goes_on_without_the_client_that_fails(kind: Any) -> None:
    given: dict[str, Any] = {"scheme": replace(batched(), wire="fp32"), "limit_bytes": 50_000, "optimiser": _PLAIN_SGD}
    hurt = make_federation(faults=[Fault(client="site1", round=0, kind=kind)], **given)
    report = hurt.run_round(0)
    gone = make_federation(faults=[Fault(client="site1", round=0, kind="absent")], **given)
    gone.run_round(0)
    assert report.participants == ("site0", "site2")
    assert_same(hurt.state, gone.state)


def test_one_pass_refuses_what_it_can_not_keep_apart() -> None:
    from peft import IA3Config

    settings = FederationSettings(task="causal_lm", scheme=batched())
    ia3 = IA3Config(task_type=TaskType.CAUSAL_LM, target_modules=["k_proj"], feedforward_modules=[])
    with pytest.raises(ModelUnsupported, match="no linear module"):
        Federation(make_model("causal_lm"), ia3, make_sites("causal_lm"), settings)
    with pytest.raises(SettingInvalid, match="U-shape"):
        make_federation(scheme=batched(), is_u_shaped=True)


def test_clients_may_be_cut_at_different_layers() -> None:
    even = make_federation(optimiser=_PLAIN_SGD, cut_layer=1)
    mixed = make_federation(optimiser=_PLAIN_SGD, cut_layer={"site0": 1, "site1": 2, "site2": 1})
    even.run_round(0)
    mixed.run_round(0)
    assert_same(mixed.state, even.state)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("task", ["classification", "causal_lm"])
def test_every_scheme_learns(name: str, task: str) -> None:
    optimiser = OptimiserSettings(learning_rate=0.05, schedule="constant")
    federation = make_federation(task, scheme=scheme_named(name), optimiser=optimiser, local_steps=4, num_rounds=4)
    losses = [federation.run_round(round_).loss for round_ in range(4)]
    assert losses[-1] < losses[0] - 0.015


def test_relay_hands_the_adapter_on_from_client_to_client() -> None:
    federation = make_federation(scheme=sl(), optimiser=_PLAIN_SGD)
    federation.run_round(0)
    alone = make_federation(optimiser=_PLAIN_SGD)
    for name in alone.clients:
        alone.faults = tuple(Fault(client=other, round=0, kind="absent") for other in alone.clients if other != name)
        alone.run_round(0)
    assert_same(federation.state, alone.state)


def effective_weights(model: Any, state: Any) -> dict[str, torch.Tensor]:
    """Each adapted layer's frozen weight with the update of `state` in it."""
    found = {}
    for name in (name for name in state if ".lora_A." in name):
        layer = model.get_submodule(name.partition(".lora_A.")[0])
        update = layer.scaling["default"] * state[name.replace(".lora_A.", ".lora_B.")] @ state[name]
        found[name] = layer.get_base_layer().weight.detach() + (update.T if layer.fan_in_fan_out else update)
    return found


@pytest.mark.parametrize("scheme", [memory_efficient(), sfl()], ids=["shared base", "copied bases"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_exact_aggregation_averages_the_clients_whole_weights(scheme: Any, family: str) -> None:
    federation = make_federation(
        scheme=scheme, aggregation="exact", optimiser=_PLAIN_SGD, local_steps=3, family=family, cut_layer=2
    )
    federation.run_round(0)
    clients = federation.clients
    for _ in range(2):
        before = {name: weight.detach().clone() for name, weight in federation.model.named_parameters()}
        federation.run_round(1)
        states = [{**clients[name].state(), **federation.server.seats[name].state()} for name in clients]
        targets = [sum(t != IGNORED for e in client.site.examples for t in e.targets) for client in clients.values()]
        after = {name: weight.detach().clone() for name, weight in federation.model.named_parameters()}
        load_state(before, dict(federation.model.named_parameters()).values(), before)
        wholes = [effective_weights(federation.model, state) for state in states]
        load_state(after, dict(federation.model.named_parameters()).values(), after)
        found = effective_weights(federation.model, federation.state)
        shapes = {tuple(value.shape) for value in found.values()}
        assert any(rows != columns for rows, columns in shapes)
        for name, value in found.items():
            wanted = sum(share * one[name].double() for share, one in zip(targets, wholes, strict=True)) / sum(targets)
            torch.testing.assert_close(value.double(), wanted, rtol=0, atol=1e-6)
    moved = [
        name for name, value in after.items() if "base_layer.weight" in name and not torch.equal(value, before[name])
    ]
    assert moved


def test_a_stopped_run_with_exact_averages_ends_bit_identical(tmp_path: Path) -> None:
    given: dict[str, Any] = {"aggregation": "exact", "local_steps": 2, "scheme": sfl()}
    whole = make_federation(**given)
    train(whole, RunSettings(folder=tmp_path / "whole"))
    seen: list[int] = []
    run = RunSettings(folder=tmp_path / "parts")
    train(make_federation(**given), run, on_round=lambda r: seen.append(r.round), should_stop=lambda: len(seen) >= 2)
    resumed = make_federation(**given)
    train(resumed, replace(run, is_resumed=True))
    assert_same(resumed.state, whole.state, atol=0)


def test_exact_averages_want_a_base_that_holds_small_changes() -> None:
    with pytest.raises(SettingInvalid, match="fp32"):
        make_federation(aggregation="exact", scheme=scheme_named("lean", precision="bf16"))


def test_frozen_a_stays_as_it_was() -> None:
    federation = make_federation(aggregation="freeze_a")
    before = {name: weight.clone() for name, weight in federation.model.named_parameters() if ".lora_A." in name}
    federation.run_round(0)
    federation.publish()
    assert not any(".lora_A." in name for name in federation.state)
    assert all(torch.equal(dict(federation.model.named_parameters())[name], value) for name, value in before.items())


@pytest.mark.parametrize("kind", ["vanish", "nan", "shape", "oversize", "absent"])
@pytest.mark.parametrize("is_u_shaped", [False, True])
def test_average_is_the_survivors_when_a_client_fails(kind: Any, is_u_shaped: bool) -> None:
    faults = [Fault(client="site1", round=0, kind=kind, step=1 if kind != "absent" else 0)]
    given: dict[str, Any] = {"local_steps": 2, "is_u_shaped": is_u_shaped, "limit_bytes": 50_000}
    hurt = make_federation(faults=faults, **given)
    report = hurt.run_round(0)
    gone = make_federation(faults=[Fault(client="site1", round=0, kind="absent")], **given)
    gone.run_round(0)
    assert report.participants == ("site0", "site2")
    assert set(report.dropped) == {"site1"}
    assert_same(hurt.state, gone.state, atol=0)
    assert hurt.run_round(1).participants == ("site0", "site1", "site2")


@pytest.mark.parametrize("what", ["loss", "gradient", "shape"])
def test_a_head_that_answers_with_rubbish_is_out_of_the_round(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    federation = make_federation(is_u_shaped=True)
    client = federation.clients["site1"]
    finish = client.finish

    def spoilt(features: Message) -> Message:
        reply = finish(features)
        assert reply.features is not None
        if what == "loss":
            return replace(reply, loss=float("nan"))
        bad = reply.features[:, 1:] if what == "shape" else reply.features * torch.nan
        return replace(reply, features=bad)

    monkeypatch.setattr(client, "finish", spoilt)
    report = federation.run_round(0)
    assert report.participants == ("site0", "site2")
    assert "site1" in report.dropped["site1"]
    gone = make_federation(is_u_shaped=True, faults=[Fault(client="site1", round=0, kind="absent")])
    gone.run_round(0)
    assert_same(federation.state, gone.state, atol=0)


def test_a_loss_that_is_none_costs_one_client_its_round() -> None:
    federation = make_federation(scheme=sfl())
    with torch.no_grad():
        federation.server.seats["site1"].segment.model.get_submodule("lm_head").weight.fill_(torch.inf)  # type: ignore[operator]
    report = federation.run_round(0)
    assert report.participants == ("site0", "site2")
    assert "the loss is nan" in report.dropped["site1"]


@pytest.mark.parametrize(
    ("auto", "config", "reason"),
    [
        (AutoModelForSequenceClassification, AlbertConfig(**_SIZES, intermediate_size=24, embedding_size=8), "0 lists"),
        (AutoModelForSeq2SeqLM, T5Config(vocab_size=40, d_model=16, num_layers=2, num_heads=2, d_ff=24), "backbone"),
    ],
    ids=["one layer used again and again", "encoder and decoder"],
)
def test_a_family_that_can_not_be_split_is_refused(auto: Any, config: Any, reason: str) -> None:
    with pytest.raises(ModelUnsupported, match=reason):
        anatomy(auto.from_config(config))


def test_round_without_clients_fails_clearly() -> None:
    faults = [Fault(client=f"site{number}", round=0, kind="absent") for number in range(3)]
    with pytest.raises(TrainingFailed, match="no client took part"):
        make_federation(faults=faults).run_round(0)


@pytest.mark.parametrize("cut_layer", [0, 3, -1, 17])
def test_cut_outside_the_model_is_refused(cut_layer: int) -> None:
    with pytest.raises(SettingInvalid, match="allowed: 1 to 2"):
        make_federation(cut_layer=cut_layer)


def test_soft_prompts_belong_to_no_segment() -> None:
    from peft import PromptTuningConfig

    settings = FederationSettings(task="causal_lm", scheme=lean())
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=4)
    with pytest.raises(ModelUnsupported):
        Federation(make_model("causal_lm"), config, make_sites("causal_lm"), settings)


@pytest.mark.parametrize("name", SCHEMES)
def test_stopped_and_resumed_run_ends_bit_identical(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = {"scheme": scheme_named(name), "dropout": 0.2, "local_steps": 2}
    whole = make_federation(**given)
    train(whole, RunSettings(folder=tmp_path / "whole"))
    stopped = make_federation(**given)
    seen: list[int] = []
    first = train(
        stopped,
        RunSettings(folder=tmp_path / "parts"),
        on_round=lambda report: seen.append(report.round),
        should_stop=lambda: len(seen) >= 3,
    )
    assert first.was_interrupted
    resumed = make_federation(**given)
    second = train(resumed, RunSettings(folder=tmp_path / "parts", is_resumed=True))
    assert (first.num_rounds, second.num_rounds) == (3, 6)
    assert_same(resumed.state, whole.state, atol=0)
    whole_rows, part_rows = ((tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "parts"))
    assert whole_rows == part_rows


def test_a_fresh_run_stopped_at_once_leaves_the_former_one_as_it_was(tmp_path: Path) -> None:
    run = RunSettings(folder=tmp_path)
    train(make_federation(num_rounds=2), run)
    before = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()}
    train(make_federation(num_rounds=2), run, should_stop=lambda: True)
    assert {file: file.read_bytes() for file in sorted(tmp_path.rglob("*")) if file.is_file()} == before


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(make_federation(), RunSettings(folder=tmp_path))
    with pytest.raises(CheckpointInvalid, match="another run"):
        train(make_federation(seed=6), RunSettings(folder=tmp_path, is_resumed=True))


def test_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointInvalid, match="no readable checkpoint"):
        train(make_federation(), RunSettings(folder=tmp_path, is_resumed=True))


def test_run_ends_early_when_validation_stops_improving(tmp_path: Path) -> None:
    optimiser = OptimiserSettings(name="sgd", learning_rate=1e-12, schedule="constant")
    federation = make_federation(optimiser=optimiser)
    run = RunSettings(folder=tmp_path, evaluate_every=1, patience=2)
    result = train(federation, run, validation=make_sites("causal_lm")[0].examples)
    assert result.num_rounds < 6
    assert not result.was_interrupted


# peft tunes norms but warns that it does not know them.
@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning")
def test_norms_are_tuned_in_fp32_between_bf16_layers() -> None:
    from peft import LNTuningConfig

    settings = FederationSettings(task="classification", scheme=scheme_named("lean", precision="bf16"), num_rounds=2)
    tuning = LNTuningConfig(task_type=TaskType.SEQ_CLS, target_modules=r".*encoder\..*LayerNorm")
    federation = Federation(make_model("classification"), tuning, make_sites("classification"), settings)
    assert all(value.dtype is torch.float32 for value in federation.state.values())
    assert federation.run_round(0).loss == pytest.approx(1.1, abs=0.2)


def test_bf16_base_learns_like_the_fp32_one() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        scheme = scheme_named("lean", precision=precision)
        federation = make_federation("classification", scheme=scheme, optimiser=_PLAIN_SGD)
        losses[precision] = [federation.run_round(round_).loss for round_ in range(3)]
        frozen = [weight for weight in federation.model.parameters() if not weight.requires_grad]
        assert {weight.dtype for weight in frozen} == {torch.float32 if precision == "fp32" else torch.bfloat16}
        assert {value.dtype for value in federation.state.values()} == {torch.float32}
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)

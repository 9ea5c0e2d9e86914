"""What a round must keep: it equals centralised training where theory says so, whoever shares what in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
import torch
from peft import TaskType

from sfl_finetune.batches import collate
from sfl_finetune.errors import TrainingFailed
from sfl_finetune.faults import Fault
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.schemes import SCHEMES, lean, memory_efficient, scheme_named, sfl, sl
from tests.federation_stage import PLAIN_SGD, assert_same, make_federation, make_model, make_sites

# Adam divides by the root of tiny second moments, so what rounding leaves grows with the rate.
_PLAIN_ADAM = OptimiserSettings(learning_rate=1e-3, clip_norm=None, schedule="constant", warmup_share=0.0)


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


@pytest.mark.parametrize("is_u_shaped", [False, True])
@pytest.mark.parametrize("task", ["classification", "causal_lm"])
def test_one_local_sgd_step_and_fedavg_equal_one_centralised_step(task: str, is_u_shaped: bool) -> None:
    federation = make_federation(task, optimiser=PLAIN_SGD, is_u_shaped=is_u_shaped)
    before = {name: value.clone() for name, value in federation.state.items()}
    federation.run_round(0)
    assert_same(federation.state, centralised_state(task, PLAIN_SGD, 1))
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


def test_clients_may_be_cut_at_different_layers() -> None:
    even = make_federation(optimiser=PLAIN_SGD, cut_layer=1)
    mixed = make_federation(optimiser=PLAIN_SGD, cut_layer={"site0": 1, "site1": 2, "site2": 1})
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
    federation = make_federation(scheme=sl(), optimiser=PLAIN_SGD)
    federation.run_round(0)
    alone = make_federation(optimiser=PLAIN_SGD)
    for name in alone.clients:
        alone.faults = tuple(Fault(client=other, round=0, kind="absent") for other in alone.clients if other != name)
        alone.run_round(0)
    assert_same(federation.state, alone.state)


def test_a_relay_does_not_wait_for_one_that_sits_out() -> None:
    seconds = {"site0": 9.0, "site1": 1.0, "site2": 1.0}

    def clock(_: int, names: Sequence[str]) -> dict[str, float]:
        return dict(zip(names, accumulate(seconds[name] for name in names), strict=True))

    report = make_federation(scheme=sl(), deadline_seconds=2.0, clock=clock).run_round(0)
    assert report.participants == ("site1", "site2")
    assert report.dropped == {"site0": "would finish at 9 s, deadline 2 s"}


def waiting_clock(seconds: dict[str, float], *, local_steps: int) -> Any:
    """All begin a step together, once the slowest has ended the one before; of no sites nothing can be told."""

    def clock(_: int, names: Sequence[str]) -> dict[str, float]:
        slowest = max(seconds[name] for name in names)
        return {name: slowest * (local_steps - 1) + seconds[name] for name in names}

    return clock


def test_sites_that_only_waited_for_a_straggler_are_not_late_without_it() -> None:
    clock = waiting_clock({"site0": 1.0, "site1": 9.0, "site2": 2.0}, local_steps=4)
    report = make_federation(deadline_seconds=8.0, local_steps=4, clock=clock).run_round(0)
    assert report.participants == ("site0", "site2")
    assert report.dropped == {"site1": "would finish at 36 s, deadline 8 s"}


def test_a_deadline_that_none_keeps_ends_in_a_round_without_clients() -> None:
    clock = waiting_clock({"site0": 1.0, "site1": 9.0, "site2": 2.0}, local_steps=4)
    with pytest.raises(TrainingFailed, match=r"no client took part: site1: would finish at 36 s.*site2.*site0: .* 4 s"):
        make_federation(deadline_seconds=0.5, local_steps=4, clock=clock).run_round(0)
    away = [Fault(client=f"site{number}", round=0, kind="absent") for number in range(3)]
    with pytest.raises(TrainingFailed, match="site0: absent; site1: absent; site2: absent"):
        make_federation(deadline_seconds=0.5, faults=away, clock=clock).run_round(0)


def test_a_causal_models_completions_cross_as_labels_unless_the_split_is_u_shaped() -> None:
    plain, u_shaped = (make_federation(is_u_shaped=shape).clients["site0"].forward(0, 0) for shape in (False, True))
    assert u_shaped.labels is None
    assert plain.labels is not None
    crossed = {tuple(row[row >= 0].tolist()) for row in plain.labels}
    assert crossed == {example.token_ids[2:] for example in make_sites("causal_lm")[0].examples}


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
        federation = make_federation("classification", scheme=scheme, optimiser=PLAIN_SGD)
        losses[precision] = [federation.run_round(round_).loss for round_ in range(3)]
        frozen = [weight for weight in federation.model.parameters() if not weight.requires_grad]
        assert {weight.dtype for weight in frozen} == {torch.float32 if precision == "fp32" else torch.bfloat16}
        assert {value.dtype for value in federation.state.values()} == {torch.float32}
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)

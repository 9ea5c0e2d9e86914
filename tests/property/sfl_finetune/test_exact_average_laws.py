"""Averages inside a run: exact where they are said to be, with equal ranks and unequal ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sfl_finetune.corpus import IGNORED
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.lora import load_state
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.ranks import leading
from sfl_finetune.schemes import batched, memory_efficient, scheme_named, sfl, sl
from sfl_finetune.training import RunSettings, train
from tests.federation_stage import PLAIN_SGD, assert_same, make_federation

_RANKS = {"site0": 4, "site1": 8}


def effective_weights(model: Any, state: Any) -> dict[str, torch.Tensor]:
    """Each adapted layer's frozen weight with the update of `state` in it."""
    found = {}
    for name in (name for name in state if ".lora_A." in name):
        layer = model.get_submodule(name.partition(".lora_A.")[0])
        update = layer.scaling["default"] * state[name.replace(".lora_A.", ".lora_B.")] @ state[name]
        found[name] = layer.get_base_layer().weight.detach() + (update.T if layer.fan_in_fan_out else update)
    return found


def assert_every_client_holds(wanted: dict[str, torch.Tensor], federation: Any) -> None:
    """Each client's layers, with what it is sent of the global adapter, weigh what the unsplit model's do."""
    for client in federation.clients.values():
        state = leading(federation.state, federation.settings.ranks.get(client.name))
        own = {name: value for name, value in state.items() if name in client.names}
        assert own
        for name, value in effective_weights(client.segment.model, own).items():
            torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scheme", [memory_efficient(), sfl()], ids=["shared base", "copied bases"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("ranks", [{}, _RANKS], ids=["equal ranks", "ranks 4, 8 and 16"])
def test_exact_aggregation_averages_the_clients_whole_weights(scheme: Any, family: str, ranks: dict[str, int]) -> None:
    # The larger adapter starts with products eight times as large, so it takes smaller steps.
    given: dict[str, Any] = {"rank": 16, "ranks": ranks, "optimiser": replace(PLAIN_SGD, learning_rate=0.05)}
    federation = make_federation(
        scheme=scheme,
        aggregation="exact",
        local_steps=3,
        family=family,
        cut_layer=2,
        **(given if ranks else {"optimiser": PLAIN_SGD}),
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
        assert_every_client_holds(found, federation)
    moved = [
        name for name, value in after.items() if "base_layer.weight" in name and not torch.equal(value, before[name])
    ]
    assert moved


@pytest.mark.parametrize("ranks", [{}, _RANKS], ids=["equal ranks", "unequal ranks"])
@pytest.mark.parametrize("aggregation", ["exact", "svd"])
def test_a_stopped_run_ends_bit_identical(tmp_path: Path, aggregation: Any, ranks: dict[str, int]) -> None:
    given: dict[str, Any] = {"aggregation": aggregation, "local_steps": 2, "scheme": sfl(), "rank": 16, "ranks": ranks}
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


@pytest.mark.parametrize("aggregation", ["exact", "svd"])
def test_clients_of_unequal_rank_learn_together(aggregation: Any) -> None:
    optimiser = OptimiserSettings(learning_rate=0.01, schedule="constant")
    federation = make_federation(
        "classification", aggregation=aggregation, rank=16, ranks=_RANKS, optimiser=optimiser, local_steps=4
    )
    sizes = {name: {len(v) for n, v in c.state().items() if ".lora_A." in n} for name, c in federation.clients.items()}
    seats = {
        name: {len(v) for n, v in seat.state().items() if ".lora_A." in n}
        for name, seat in federation.server.seats.items()
    }
    assert sizes == seats == {"site0": {4}, "site1": {8}, "site2": {16}}
    losses = [federation.run_round(round_).loss for round_ in range(6)]
    assert losses[-1] < losses[0] - 0.05
    federation.publish()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ranks": {"site0": 3}}, "allowed: 1 to 2"),
        ({"ranks": {"nowhere": 1}}, "nowhere"),
        ({"ranks": {"site0": 0}}, "1 and up"),
        ({"ranks": {"site0": 1}, "aggregation": "fedavg"}, "allowed: svd, exact"),
        ({"ranks": {"site0": 1}, "scheme": sl()}, "adapter per client"),
        ({"ranks": {"site0": 1}, "scheme": batched()}, "adapter per client"),
    ],
)
def test_ranks_that_can_not_be_held_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingInvalid, match=reason):
        make_federation(**{"aggregation": "svd", **given})

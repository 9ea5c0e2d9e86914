from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import BertConfig, LlamaConfig

from sfl_finetune.lora import AdapterSlots, LoraSettings
from sfl_finetune.memory import StepShape, measure_client, measure_server, measure_whole
from sfl_finetune.meters import SavedTensorMeter, TensorMeter
from sfl_finetune.schemes import Scheme, batched, lean, memory_efficient, sfl, sl
from sfl_finetune.split import checkpoint_layers, server_segment
from sfl_finetune.workload import count_step, model_of, shape_only_model

_SHAPE = StepShape(batch_size=4, num_tokens=32)
_BERT = BertConfig(vocab_size=60, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128)
_LLAMA = LlamaConfig(vocab_size=60, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128)
_CUTS = [1, 1, 2]


def built(config: Any, *, device: str = "cpu") -> Any:
    task: Any = "classification" if config is _BERT else "causal_lm"
    return model_of(config, task, LoraSettings(rank=4), device=device)


def server(scheme: Scheme, config: Any = _BERT, *, device: str = "cpu") -> Any:
    return measure_server(*built(config, device=device), _CUTS, scheme, _SHAPE)


@pytest.mark.parametrize("config", [_BERT, _LLAMA], ids=["bert", "llama"])
@pytest.mark.parametrize("scheme", [sl(), sfl(), memory_efficient(), lean(), batched()], ids=lambda scheme: scheme.name)
def test_prediction_from_shapes_agrees_with_measurement(scheme: Scheme, config: Any) -> None:
    assert server(scheme, config, device="meta").total == pytest.approx(server(scheme, config).total, rel=0.1)


def test_shared_base_and_checkpoints_save_what_they_should() -> None:
    copied, shared, checked = server(sfl()), server(memory_efficient()), server(lean())
    # Clients cut later leave the server a layer less to copy.
    assert 2.5 * shared.base < copied.base <= 3 * shared.base
    assert copied.held > 2.5 * shared.held
    assert checked.held < shared.held / 3
    assert checked.wire < shared.wire / 3
    assert copied.adapters == shared.adapters == checked.adapters


def test_a_client_of_the_split_needs_less_than_the_whole_model_even_checkpointed() -> None:
    whole = measure_whole(built(_LLAMA)[0], _SHAPE)
    model, parts = built(_LLAMA)
    checkpoint_layers(model.get_submodule(parts.layers).children())
    checked = measure_whole(model, _SHAPE)
    client = measure_client(*built(_LLAMA), 1, lean(), _SHAPE)
    assert client.total < checked.total < whole.total


def test_one_pass_for_all_clients_needs_room_for_all_of_them() -> None:
    turns, together = server(lean()), server(batched())
    assert together.step_peak > 2.5 * turns.step_peak
    assert together.adapters == turns.adapters


def test_saved_tensors_are_what_lives_after_the_forward_pass() -> None:
    model, parts = built(_BERT)
    segment = server_segment(model, parts, cut_layer=1).train()
    received = torch.randn(4, 32, 64, requires_grad=True)
    with TensorMeter() as meter, SavedTensorMeter(segment.parameters()) as saved:
        meter.ignore([*segment.parameters(), received])
        output = segment(received, None, torch.zeros(4, dtype=torch.long))
        live = meter.live_bytes
    assert output.loss.requires_grad
    assert saved.saved_bytes == pytest.approx(live, rel=0.1)


def test_meter_forgets_what_is_freed() -> None:
    with TensorMeter() as meter:
        first = torch.zeros(1000)
        assert meter.live_bytes == 4000
        view = first[:10]
        assert meter.live_bytes == 4000
        del first, view
        assert meter.live_bytes == 0
        torch.ones(500)
    assert (meter.live_bytes, meter.peak_bytes) == (0, 4000)


def test_deeper_cut_moves_memory_to_the_client() -> None:
    model, parts = built(_BERT)
    shallow, deep = (measure_client(model, parts, cut, memory_efficient(), _SHAPE) for cut in (1, 3))
    assert deep.base > shallow.base
    assert deep.held > 2 * shallow.held


def test_work_is_conserved_between_the_sides() -> None:
    model, parts = shape_only_model(_BERT, "classification", LoraSettings(rank=4))
    forward = [count_step(model, parts, cut, memory_efficient(), _SHAPE) for cut in (1, 2, 3)]
    steps = [later.client_forward_flop - earlier.client_forward_flop for earlier, later in pairwise(forward)]
    assert steps[0] == steps[1] > 0
    server_steps = [a.server_flop - b.server_flop for a, b in pairwise(forward)]
    assert server_steps[0] == server_steps[1] > steps[0]


@pytest.mark.parametrize("config", [_BERT, _LLAMA], ids=["bert", "llama"])
@pytest.mark.parametrize("scheme", [memory_efficient(), lean()], ids=lambda scheme: scheme.name)
def test_a_u_shaped_split_moves_the_heads_work_to_the_client(scheme: Scheme, config: Any) -> None:
    model, parts = built(config, device="meta")
    plain, u_shaped = (count_step(model, parts, 1, scheme, _SHAPE, is_u_shaped=shape) for shape in (False, True))
    assert u_shaped.head_flop > 0
    assert u_shaped.server_flop + u_shaped.head_flop == plain.server_flop
    assert u_shaped.client_forward_flop == plain.client_forward_flop
    assert (plain.head_flop, plain.features_bytes) == (0, 0)
    num_labels = _SHAPE.batch_size * (_SHAPE.num_tokens if config is _LLAMA else 1)
    assert plain.uplink_bytes - u_shaped.uplink_bytes == pytest.approx(4 * num_labels, abs=80)
    assert u_shaped.features_bytes == u_shaped.downlink_bytes < u_shaped.uplink_bytes


@pytest.mark.parametrize("config", [_BERT, _LLAMA], ids=["bert", "llama"])
def test_a_u_shaped_split_moves_the_heads_memory_to_the_client(config: Any) -> None:
    model, parts = built(config)
    servers = [measure_server(model, parts, [1], lean(), _SHAPE, is_u_shaped=shape) for shape in (False, True)]
    clients = [measure_client(model, parts, 1, lean(), _SHAPE, is_u_shaped=shape) for shape in (False, True)]
    head = {id(weight): weight for path in parts.back for weight in model.get_submodule(path).parameters()}
    frozen = sum(4 * weight.numel() for weight in head.values() if not weight.requires_grad)
    trained = sum(4 * weight.numel() for weight in head.values() if weight.requires_grad)
    assert servers[0].base - servers[1].base == clients[1].base - clients[0].base == frozen
    assert servers[0].adapters - servers[1].adapters == clients[1].adapters - clients[0].adapters == trained
    assert clients[1].step_peak >= clients[0].step_peak


@pytest.mark.parametrize("config", [_BERT, _LLAMA], ids=["bert", "llama"])
@pytest.mark.parametrize("scheme", [sl(), sfl(), lean()], ids=lambda scheme: scheme.name)
def test_prediction_from_shapes_agrees_with_measurement_when_u_shaped(scheme: Scheme, config: Any) -> None:
    servers, clients = [], []
    for device in ("meta", "cpu"):
        model, parts = built(config, device=device)
        servers.append(measure_server(model, parts, _CUTS, scheme, _SHAPE, is_u_shaped=True).total)
        clients.append(measure_client(model, parts, 1, scheme, _SHAPE, is_u_shaped=True).total)
    assert servers[0] == pytest.approx(servers[1], rel=0.1)
    assert clients[0] == pytest.approx(clients[1], rel=0.1)


def test_recomputing_costs_at_most_one_more_forward_pass() -> None:
    model, parts = shape_only_model(_BERT, "classification", LoraSettings(rank=4))
    plain = count_step(model, parts, 1, memory_efficient(), _SHAPE)
    checked = count_step(model, parts, 1, replace(memory_efficient(), checkpointing=True), _SHAPE)
    assert 1.3 < checked.server_flop / plain.server_flop < 1.51


def test_swapping_adapters_copies_nothing() -> None:
    model, parts = built(_BERT)
    segment = server_segment(model, parts, cut_layer=1)
    slots = AdapterSlots(segment)
    other = slots.fresh()
    slots.fill(other)
    placed = [weight for weight in segment.parameters() if weight.requires_grad]
    assert {id(weight) for weight in placed} == {id(weight) for weight in other}

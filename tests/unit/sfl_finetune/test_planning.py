from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from transformers import BertConfig

from sfl_finetune.clock import Party, round_seconds
from sfl_finetune.devices import Channel, Device
from sfl_finetune.errors import PlanInfeasible, SettingInvalid
from sfl_finetune.lora import LoraSettings
from sfl_finetune.memory import StepShape, measure_server
from sfl_finetune.planning import Request, make_plan
from sfl_finetune.schemes import Scheme, batched, lean, sfl, sl
from sfl_finetune.workload import count_step, shape_only_model

_CONFIG = BertConfig(vocab_size=500, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=128)


def request(**given: Any) -> Request:
    weak = Device(name="weak", peak_tflops=0.001, memory_gib=1)
    strong = Device(name="strong", peak_tflops=1.0, memory_gib=1)
    return Request(
        **{
            "config": _CONFIG,
            "task": "classification",
            "scheme": lean(),
            "clients": (weak, strong),
            "server": Device(name="server", peak_tflops=0.01, memory_gib=4),
            "channel": Channel(),
            "num_tokens": 16,
            "cuts": (1, 3),
            "batch_sizes": (8, 2),
            "ranks": (8,),
        }
        | given
    )


def test_strong_clients_relieve_a_slow_server_and_weak_ones_do_not() -> None:
    cuts = {}
    for client in request().clients:
        plan = make_plan(request(clients=(client,)))
        assert (plan.rank, plan.assignments[0].batch_size) == (8, 8)
        cuts[client.name] = plan.assignments[0].cut_layer
    assert cuts == {"weak": 1, "strong": 3}


def test_no_choice_of_cuts_is_faster() -> None:
    wanted = request()
    model, parts = shape_only_model(_CONFIG, "classification", LoraSettings(rank=8))
    works = {cut: count_step(model, parts, cut, lean(), StepShape(batch_size=8, num_tokens=16)) for cut in (1, 3)}
    times = [
        round_seconds(
            [Party(name=d.name, device=d, work=works[cut]) for d, cut in zip(wanted.clients, cuts, strict=True)],
            wanted.server,
            wanted.channel,
            lean(),
        )
        for cuts in product((1, 3), repeat=2)
    ]
    assert make_plan(wanted).seconds_per_round == pytest.approx(min(times))


def test_scarce_memory_costs_batch_before_rank() -> None:
    roomy = make_plan(request(cuts=(1,)))
    need = min(one.memory_gib for one in roomy.assignments)
    tight = request(cuts=(1,), clients=(Device(name="weak", peak_tflops=0.001, memory_gib=0.9 * need),))
    plan = make_plan(tight)
    assert (plan.rank, plan.assignments[0].batch_size) == (8, 2)
    assert plan.assignments[0].memory_gib <= 0.9 * need


@pytest.mark.parametrize("scheme", [lean(), sl(), sfl()], ids=lambda scheme: scheme.name)
def test_a_server_short_of_memory_costs_batch_before_rank(scheme: Scheme) -> None:
    given: dict[str, Any] = {"scheme": scheme, "cuts": (1,), "batch_sizes": (16, 8, 4, 2), "ranks": (8, 4)}
    room = make_plan(request(**{**given, "batch_sizes": (8,)})).server_gib
    server = Device(name="server", peak_tflops=0.01, memory_gib=room)
    plan = make_plan(request(**given, server=server))
    assert (plan.rank, [one.batch_size for one in plan.assignments]) == (8, [8, 8])
    assert plan.server_gib <= room


def test_only_the_largest_batches_shrink_for_the_server() -> None:
    need = make_plan(request(cuts=(1,), batch_sizes=(8,))).assignments[0].memory_gib
    tight = Device(name="tight", peak_tflops=0.001, memory_gib=0.9 * need)
    given: dict[str, Any] = {"cuts": (1,), "clients": (tight, request().clients[1])}
    room = make_plan(request(**given, batch_sizes=(8, 4))).server_gib
    server = Device(name="server", peak_tflops=0.01, memory_gib=room)
    plan = make_plan(request(**given, batch_sizes=(16, 8, 4), server=server))
    assert [one.batch_size for one in plan.assignments] == [4, 8]


@pytest.mark.parametrize("scheme", [lean(), sl(), sfl()], ids=lambda scheme: scheme.name)
def test_no_choice_of_cuts_needs_less_of_the_server_than_is_said(scheme: Scheme) -> None:
    weak, strong = request().clients
    given: dict[str, Any] = {"scheme": scheme, "batch_sizes": (2,)}
    need = make_plan(request(**given, cuts=(2,), clients=(weak,))).assignments[0].memory_gib
    given |= {"cuts": (1, 2, 3), "clients": (replace(weak, memory_gib=need), strong)}
    with pytest.raises(PlanInfeasible) as refused:
        make_plan(request(**given, server=Device(name="server", peak_tflops=1.0, memory_gib=1e-5)))
    model, parts = shape_only_model(_CONFIG, "classification", LoraSettings(rank=8), precision=scheme.precision)
    shape = StepShape(batch_size=2, num_tokens=16)
    least = min(
        measure_server(model, parts, sorted(cuts), scheme, shape, max_turns=1).total
        for cuts in product((1, 2), (1, 2, 3))
    )
    assert f"needs at least {least / 2**30:.3g}" in str(refused.value)


def test_infeasible_request_names_the_device_and_its_shortfall() -> None:
    tiny = Device(name="mote", peak_tflops=0.001, memory_gib=1e-5)
    with pytest.raises(PlanInfeasible, match=r"rank 8: mote has 1e-05 GiB and needs at least 0\.000[1-9]"):
        make_plan(request(clients=(tiny,), cuts=(1,)))
    with pytest.raises(PlanInfeasible, match="the server has"):
        make_plan(replace(request(cuts=(1,)), server=Device(name="server", peak_tflops=1.0, memory_gib=1e-4)))


def test_only_the_client_that_lacks_memory_holds_a_smaller_rank() -> None:
    roomy = make_plan(request(cuts=(1,), batch_sizes=(1,), ranks=(64,)))
    need = min(one.memory_gib for one in roomy.assignments)
    given: dict[str, Any] = {
        "cuts": (1,),
        "batch_sizes": (1,),
        "ranks": (64, 4),
        "clients": (
            Device(name="tight", peak_tflops=0.001, memory_gib=0.9 * need),
            Device(name="roomy", peak_tflops=0.001, memory_gib=1),
        ),
    }
    alike = make_plan(request(**given))
    assert (alike.rank, [one.rank for one in alike.assignments]) == (4, [4, 4])
    own = make_plan(request(**given, has_site_ranks=True))
    assert (own.rank, [one.rank for one in own.assignments]) == (64, [4, 64])
    assert own.assignments[0].memory_gib <= 0.9 * need
    with pytest.raises(SettingInvalid, match="adapter per client"):
        request(has_site_ranks=True, scheme=sl())


def test_a_round_of_more_steps_takes_longer() -> None:
    once, often = (make_plan(request(local_steps=steps)).seconds_per_round for steps in (1, 4))
    assert 2 * once < often <= 4 * once


def test_a_u_shaped_split_takes_clients_memory_and_time() -> None:
    plain, u_shaped = (make_plan(request(cuts=(1,), is_u_shaped=shape)) for shape in (False, True))
    assert u_shaped.seconds_per_round > plain.seconds_per_round
    for own, former in zip(u_shaped.assignments, plain.assignments, strict=True):
        assert own.memory_gib > former.memory_gib
    with pytest.raises(SettingInvalid, match="no U-shape"):
        request(scheme=batched(), is_u_shaped=True)


def test_every_device_that_lacks_memory_is_named() -> None:
    motes = tuple(Device(name=name, peak_tflops=0.001, memory_gib=1e-5) for name in ("mote", "tag"))
    with pytest.raises(PlanInfeasible, match=r"mote has .* GiB and needs .*, tag has .* GiB and needs"):
        make_plan(request(clients=motes, cuts=(1,)))


def test_doubled_names_and_empty_choices_are_refused() -> None:
    device = Device(name="twin", peak_tflops=1.0, memory_gib=1)
    with pytest.raises(SettingInvalid, match="same name"):
        request(clients=(device, device))
    with pytest.raises(SettingInvalid, match="empty"):
        request(cuts=())

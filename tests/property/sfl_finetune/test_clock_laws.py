from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfl_finetune.clock import Party, finish_seconds, round_seconds, shared_machine, step_timeline, urgent_first
from sfl_finetune.devices import CLIENTS, DEVICES, SERVER, Channel, Device, read_registry
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.schemes import SCHEMES, Scheme, memory_efficient, scheme_named, sfl, sl
from sfl_finetune.workload import StepWork

_WORK = StepWork(
    client_forward_flop=30e9,
    client_backward_flop=23e9,
    server_flop=671e9,
    uplink_bytes=6_291_456,
    downlink_bytes=6_291_456,
    client_adapter_bytes=200_000,
)


def parties(work: StepWork = _WORK) -> list[Party]:
    return [Party(name=name, device=DEVICES[name], work=work) for name in CLIENTS]


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "centralised"])
@pytest.mark.parametrize("is_shared_cell", [False, True])
def test_each_clients_phases_follow_one_another_and_end_within_the_step(name: str, is_shared_cell: bool) -> None:
    timeline = step_timeline(parties(), DEVICES[SERVER], Channel(is_shared_cell=is_shared_cell), scheme_named(name))
    for client in CLIENTS:
        spans = [span for span in timeline.spans if span.client == client]
        assert [s.phase for s in spans] == ["forward", "uplink", "waiting", "server", "downlink", "backward"]
        assert all(first.end == second.start for first, second in pairwise(spans))
        assert all(span.end >= span.start for span in spans)
        assert spans[-1].end <= timeline.seconds


def test_one_server_serves_one_client_at_a_time() -> None:
    timeline = step_timeline(parties(), DEVICES[SERVER], Channel(), memory_efficient())
    turns = sorted((span.start, span.end) for span in timeline.spans if span.phase == "server")
    assert all(first[1] <= second[0] + 1e-12 for first, second in pairwise(turns))


def test_sequential_learning_is_the_sum_of_its_parts() -> None:
    channel, server = Channel(), DEVICES[SERVER]
    wanted = sum(
        p.device.seconds(_WORK.client_forward_flop + _WORK.client_backward_flop)
        + channel.uplink_seconds(_WORK.uplink_bytes)
        + channel.downlink_seconds(_WORK.downlink_bytes)
        + server.seconds(_WORK.server_flop)
        for p in parties()
    )
    assert step_timeline(parties(), server, channel, sl()).seconds == pytest.approx(wanted)


_U_SHAPED = replace(_WORK, head_flop=50e9, features_bytes=6_000_000)


def way_to_the_head(party: Party, channel: Channel) -> float:
    sent = channel.downlink_seconds(_U_SHAPED.features_bytes) + channel.uplink_seconds(_U_SHAPED.features_bytes)
    return sent + party.device.seconds(_U_SHAPED.head_flop)


@pytest.mark.parametrize("scheme", [sl(), memory_efficient()], ids=lambda scheme: scheme.name)
def test_a_server_that_serves_in_turn_waits_for_each_head_of_a_u_shaped_split(scheme: Scheme) -> None:
    given = (DEVICES[SERVER], Channel(), scheme)
    turns = {span.client: span for span in step_timeline(parties(_U_SHAPED), *given).spans if span.phase == "server"}
    for party in parties():
        wanted = DEVICES[SERVER].seconds(_WORK.server_flop) + way_to_the_head(party, Channel())
        assert turns[party.name].end - turns[party.name].start == pytest.approx(wanted)
    ordered = sorted((span.start, span.end) for span in turns.values())
    assert all(first[1] <= second[0] + 1e-12 for first, second in pairwise(ordered))


def test_heads_work_side_by_side_where_all_batches_are_in_flight() -> None:
    given = (DEVICES[SERVER], Channel(), sfl())
    plain, u_shaped = (finish_seconds(parties(work), *given) for work in (_WORK, _U_SHAPED))
    for party in parties():
        assert u_shaped[party.name] - plain[party.name] == pytest.approx(way_to_the_head(party, Channel()))


def test_an_endlessly_fast_server_makes_sharing_and_taking_turns_equal() -> None:
    fast = replace(DEVICES[SERVER], peak_tflops=1e12)
    times = [step_timeline(parties(), fast, Channel(), scheme).seconds for scheme in (sfl(), memory_efficient())]
    assert times[0] == pytest.approx(times[1], rel=1e-9)


def test_more_local_steps_share_one_exchange_of_adapters() -> None:
    given = (parties(), DEVICES[SERVER], Channel(), memory_efficient())
    step = step_timeline(*given).seconds
    assert round_seconds(*given, local_steps=5) - round_seconds(*given) == pytest.approx(4 * step)


def test_in_a_relay_each_client_is_done_once_it_and_those_before_it_are() -> None:
    second = Device(name="second", peak_tflops=1, memory_gib=1, utilisation=1)
    work = replace(_WORK, client_forward_flop=0.4e12, client_backward_flop=0.6e12, server_flop=0)
    alone = replace(work, uplink_bytes=0, downlink_bytes=0, client_adapter_bytes=0)
    clients = [Party(name=name, device=second, work=alone) for name in CLIENTS]
    ends = finish_seconds(clients, second, Channel(), sl(), local_steps=4)
    assert ends == pytest.approx({name: 4.0 * number for number, name in enumerate(CLIENTS, start=1)})


@pytest.mark.parametrize("local_steps", [1, 4])
@pytest.mark.parametrize("scheme", [sl(), sfl(), memory_efficient()], ids=lambda scheme: scheme.name)
def test_the_last_client_is_done_when_only_adapters_are_left_to_exchange(scheme: Scheme, local_steps: int) -> None:
    given = (parties(), DEVICES[SERVER], Channel(), scheme)
    last = max(finish_seconds(*given, local_steps=local_steps).values())
    exchange = 2 * Channel().uplink_seconds(_WORK.client_adapter_bytes)
    assert round_seconds(*given, local_steps=local_steps) == pytest.approx(last + exchange)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 10)), min_size=1, max_size=8))
def test_shared_machine_conserves_work(rows: list[tuple[float, float]]) -> None:
    begin = {str(i): start for i, (start, _) in enumerate(rows)}
    alone = {str(i): work for i, (_, work) in enumerate(rows)}
    ends = shared_machine(begin, alone)
    assert ends.keys() == begin.keys()
    assert all(ends[name] >= begin[name] + alone[name] - 1e-9 for name in ends)
    # While anyone is there the machine works: its end is the end of the same work done in turn.
    now = 0.0
    for name in sorted(begin, key=lambda n: begin[n]):
        now = max(now, begin[name]) + alone[name]
    assert max(ends.values()) == pytest.approx(now)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 10), st.floats(0, 20)), min_size=1, max_size=7))
def test_answering_the_most_urgent_first_ends_no_later_than_sharing(rows: list[tuple[float, float, float]]) -> None:
    begin = {str(i): start for i, (start, _, _) in enumerate(rows)}
    alone = {str(i): work for i, (_, work, _) in enumerate(rows)}
    tail = {str(i): rest for i, (_, _, rest) in enumerate(rows)}
    urgent, shared = urgent_first(begin, alone, tail), shared_machine(begin, alone)
    assert all(urgent[name] >= begin[name] + alone[name] - 1e-9 for name in urgent)
    assert max(urgent.values()) == pytest.approx(max(shared.values()))
    assert max(urgent[name] + tail[name] for name in tail) <= max(shared[name] + tail[name] for name in tail) + 1e-9


@pytest.mark.parametrize("rate_mbps", [10, 1000])
@pytest.mark.parametrize("utilisation", [0.01, 0.5])
@pytest.mark.parametrize("is_shared_cell", [False, True])
def test_taking_turns_is_never_slower_than_dividing_the_server(
    rate_mbps: float, utilisation: float, is_shared_cell: bool
) -> None:
    channel = Channel(uplink_mbps=rate_mbps, downlink_mbps=rate_mbps, is_shared_cell=is_shared_cell)
    for depth in (1, 3):
        work = replace(
            _WORK,
            client_forward_flop=30e9 * depth,
            client_backward_flop=60e9 * depth - 37e9,
            server_flop=671e9 * (12 - depth) / 11,
        )
        clients = [replace(p, device=replace(p.device, utilisation=utilisation)) for p in parties(work)]
        server = replace(DEVICES[SERVER], utilisation=utilisation)
        ours, theirs = (step_timeline(clients, server, channel, s).seconds for s in (memory_efficient(), sfl()))
        assert ours <= theirs * (1 + 1e-9)


def test_users_add_their_devices(tmp_path: Path) -> None:
    file = tmp_path / "devices.yaml"
    file.write_text("- {name: pi-5, peak_tflops: 0.03, memory_gib: 8, utilisation: 0.5}\n")
    found = read_registry(file)
    assert found.device("pi-5").seconds(0.03e12 * 0.5) == pytest.approx(1.0)
    assert SERVER in found.devices


def test_users_add_their_links_beside_the_devices(tmp_path: Path) -> None:
    file = tmp_path / "devices.yaml"
    device = "{name: pi-5, peak_tflops: 0.03, memory_gib: 8}"
    file.write_text(f"devices:\n- {device}\nlinks:\n- {{name: lora, uplink_mbps: 0.02, downlink_mbps: 0.01}}\n")
    found = read_registry(file)
    assert found.device("pi-5").memory_gib == 8
    assert found.channel("lora", None).uplink_seconds(2500) == pytest.approx(1.0)
    assert found.channel("lora", None).downlink_seconds(2500) == pytest.approx(2.0)
    assert found.channel(None, 30).uplink_mbps == 30
    assert found.channel(None, None) == Channel() == read_registry(None).channel("fast-ethernet", None)


def test_an_unknown_name_or_a_link_with_two_rates_is_refused() -> None:
    known = read_registry(None)
    with pytest.raises(SettingInvalid, match=r"device 'pi-6' is unknown; known: jetson-nano"):
        known.device("pi-6")
    with pytest.raises(SettingInvalid, match=r"link 'string' is unknown; known: fast-ethernet"):
        known.channel("string", None)
    with pytest.raises(SettingInvalid, match="both given"):
        known.channel("fast-ethernet", 10)


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "device: []",
        "links: [{name: x, uplink_mbps: 1}]",
        "links: [{name: x, uplink_mbps: 1, downlink_mbps: 0}]",
        "- {name: x}",
        "- {name: x, peak_tflops: .nan, memory_gib: 1}",
        "- {name: x, peak_tflops: -1, memory_gib: 1}",
        "a: [",
    ],
)
def test_unreadable_devices_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "devices.yaml"
    file.write_text(text)
    with pytest.raises(SettingInvalid):
        read_registry(file)

"""The virtual clock: a step's work on given devices and links becomes a timeline, one scheme at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Literal

from sfl_finetune.schedule import Job, best_order, fifo, longest_backward_first, schrage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sfl_finetune.devices import Channel, Device
    from sfl_finetune.schemes import Scheme
    from sfl_finetune.workload import StepWork

Order = Literal["fifo", "longest_backward_first", "schrage", "best"]
Phase = Literal["forward", "uplink", "waiting", "server", "downlink", "backward", "aggregation"]

_ORDERS = {
    "fifo": fifo,
    "longest_backward_first": longest_backward_first,
    "schrage": schrage,
    "best": best_order,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One client's phase, in seconds from the round's start."""

    client: str
    phase: Phase
    start: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """One step of every client, and the aggregation that ends it."""

    spans: tuple[Span, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Party:
    """A client with its device and its step's work."""

    name: str
    device: Device
    work: StepWork


def step_timeline(
    parties: Sequence[Party], server: Device, channel: Channel, scheme: Scheme, *, order: Order = "best"
) -> Timeline:
    """Client forward, uplink, waiting, server, downlink, client backward of one step, without aggregation.

    In a U-shaped split the server's phase includes the way to the client's head and back.
    """
    if scheme.is_relay:
        return _relay(parties, server, channel)
    forward = {p.name: p.device.seconds(p.work.client_forward_flop) for p in parties}
    up = _transfer(forward, {p.name: channel.uplink_seconds(p.work.uplink_bytes) for p in parties}, channel)
    if scheme.is_batched:
        # One pass: it begins with the last arrival, and all end together.
        barrier = max(up.values())
        started = dict.fromkeys(up, barrier)
        served = dict.fromkeys(up, barrier + sum(server.seconds(p.work.server_flop) for p in parties))
    elif scheme.all_in_flight:
        # One machine divided among the clients that are there: a process each, none waits for another's turn.
        served = shared_machine(up, {p.name: server.seconds(p.work.server_flop) for p in parties})
        served = {p.name: served[p.name] + _head_seconds(p, channel) for p in parties}
        started = up
    else:
        started, served = _in_turn(parties, server, channel, up, order, scheme)
    down = _reply(served, parties, channel, is_prioritised=scheme.prioritises_replies)
    done = {p.name: down[p.name] + p.device.seconds(p.work.client_backward_flop) for p in parties}
    spans: list[Span] = []
    for p in parties:
        borders = [0.0, forward[p.name], up[p.name], started[p.name], served[p.name], down[p.name], done[p.name]]
        spans += _spans(p.name, borders)
    return Timeline(spans=tuple(spans), seconds=max(done.values()))


def finish_seconds(
    parties: Sequence[Party], server: Device, channel: Channel, scheme: Scheme, *, local_steps: int = 1
) -> dict[str, float]:
    """When each client has done its local steps, if every step went like the first."""
    if scheme.is_relay:
        return _relay_finish(parties, server, channel, local_steps)
    timeline = step_timeline(parties, server, channel, scheme)
    last = {span.client: span.end for span in timeline.spans if span.phase == "backward"}
    return {name: timeline.seconds * (local_steps - 1) + end for name, end in last.items()}


def round_seconds(
    parties: Sequence[Party],
    server: Device,
    channel: Channel,
    scheme: Scheme,
    *,
    local_steps: int = 1,
    order: Order = "best",
) -> float:
    """A round: its local steps, then the exchange of the clients' adapters (handed on from client to client in SL)."""
    step = step_timeline(parties, server, channel, scheme, order=order).seconds
    zero = {p.name: 0.0 for p in parties}
    up = {p.name: channel.uplink_seconds(p.work.client_adapter_bytes) for p in parties}
    down = {p.name: channel.downlink_seconds(p.work.client_adapter_bytes) for p in parties}
    if scheme.is_relay:
        return step * local_steps + sum(up.values()) + sum(down.values())
    gathered = max(_transfer(zero, up, channel).values())
    return step * local_steps + gathered + max(_transfer(zero, down, channel).values())


def _spans(name: str, borders: Sequence[float]) -> list[Span]:
    phases: tuple[Phase, ...] = ("forward", "uplink", "waiting", "server", "downlink", "backward")
    return [
        Span(client=name, phase=phase, start=start, end=end)
        for phase, start, end in zip(phases, borders, borders[1:], strict=False)
    ]


def _in_turn(
    parties: Sequence[Party],
    server: Device,
    channel: Channel,
    arrived: Mapping[str, float],
    order: Order,
    scheme: Scheme,
) -> tuple[dict[str, float], dict[str, float]]:
    """Start and end of each client's turn; unpipelined, the first turn waits for the last arrival."""
    barrier = max(arrived.values())
    jobs = [
        Job(
            name=p.name,
            release=arrived[p.name] if scheme.is_pipelined else barrier,
            # A turn holds one client's activations, so nobody else's begins while its head works.
            work=server.seconds(p.work.server_flop) + _head_seconds(p, channel),
            tail=channel.downlink_seconds(p.work.downlink_bytes) + p.device.seconds(p.work.client_backward_flop),
        )
        for p in parties
    ]
    chosen = _ORDERS[order](jobs).order
    if order == "best" and channel.is_shared_cell:
        chosen = _improve_in_shared_cell(jobs, parties, channel, is_prioritised=scheme.prioritises_replies)
    return _turns(chosen)


def _head_seconds(party: Party, channel: Channel) -> float:
    """Features down, head, their gradient up, as if the channel were the client's alone; 0 where the server has it."""
    size = party.work.features_bytes
    return channel.downlink_seconds(size) + party.device.seconds(party.work.head_flop) + channel.uplink_seconds(size)


def _turns(order: Sequence[Job]) -> tuple[dict[str, float], dict[str, float]]:
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    now = 0.0
    for job in order:
        starts[job.name] = max(now, job.release)
        now = ends[job.name] = starts[job.name] + job.work
    return starts, ends


def _improve_in_shared_cell(
    jobs: Sequence[Job], parties: Sequence[Party], channel: Channel, *, is_prioritised: bool
) -> tuple[Job, ...]:
    """From the best of the rules, swap or move turns as long as that ends the step earlier.

    Where replies share a channel, tails are no constants, so the orders that are best with constant ones may not be.
    """
    backward = {p.name: p.device.seconds(p.work.client_backward_flop) for p in parties}

    def finish(candidate: Sequence[Job]) -> float:
        replied = _reply(_turns(candidate)[1], parties, channel, is_prioritised=is_prioritised)
        return max(replied[name] + backward[name] for name in replied)

    best = min((rule(jobs).order for rule in _ORDERS.values()), key=finish)
    best_seconds = finish(best)
    is_improving = True
    while is_improving:
        is_improving = False
        for candidate in _neighbours(best):
            seconds = finish(candidate)
            if seconds < best_seconds * (1 - 1e-9):
                best, best_seconds, is_improving = candidate, seconds, True
    return best


def _neighbours(order: tuple[Job, ...]) -> Iterator[tuple[Job, ...]]:
    """Every order with two turns exchanged, or one moved to another place."""
    for first, second in permutations(range(len(order)), 2):
        moved = list(order)
        moved.insert(second, moved.pop(first))
        yield tuple(moved)
        if first < second:
            swapped = list(order)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            yield tuple(swapped)


def _relay(parties: Sequence[Party], server: Device, channel: Channel) -> Timeline:
    spans: list[Span] = []
    now = 0.0
    for p in parties:
        borders = [now]
        for seconds in (
            p.device.seconds(p.work.client_forward_flop),
            channel.uplink_seconds(p.work.uplink_bytes),
            0.0,
            server.seconds(p.work.server_flop) + _head_seconds(p, channel),
            channel.downlink_seconds(p.work.downlink_bytes),
            p.device.seconds(p.work.client_backward_flop),
        ):
            borders.append(borders[-1] + seconds)
        spans += _spans(p.name, borders)
        now = borders[-1]
    return Timeline(spans=tuple(spans), seconds=now)


def _relay_finish(parties: Sequence[Party], server: Device, channel: Channel, local_steps: int) -> dict[str, float]:
    """Each client does all its local steps in a row, then hands its adapter on to the next."""
    ends: dict[str, float] = {}
    now = 0.0
    for p in parties:
        if ends:
            now += channel.downlink_seconds(p.work.client_adapter_bytes)
        now = ends[p.name] = now + local_steps * _relay([p], server, channel).seconds
        now += channel.uplink_seconds(p.work.client_adapter_bytes)
    return ends


def _transfer(begin: Mapping[str, float], alone: Mapping[str, float], channel: Channel) -> dict[str, float]:
    """When each transfer ends that would take `alone` seconds with the channel to itself."""
    if channel.is_shared_cell:
        return shared_machine(begin, alone)
    return {name: begin[name] + alone[name] for name in begin}


def _reply(
    served: Mapping[str, float], parties: Sequence[Party], channel: Channel, *, is_prioritised: bool
) -> dict[str, float]:
    """When each client has its gradient."""
    alone = {p.name: channel.downlink_seconds(p.work.downlink_bytes) for p in parties}
    if channel.is_shared_cell and is_prioritised:
        return urgent_first(served, alone, {p.name: p.device.seconds(p.work.client_backward_flop) for p in parties})
    return _transfer(served, alone, channel)


def urgent_first(begin: Mapping[str, float], alone: Mapping[str, float], tail: Mapping[str, float]) -> dict[str, float]:
    """When each job ends on a machine that always serves the one with the longest tail of those that are there.

    Source: Jackson 1955; a reply is sent in packets, so a more urgent one need not wait for its end.
    """
    left = dict(alone)
    waiting = sorted(begin, key=lambda name: begin[name])
    active: list[str] = []
    ends: dict[str, float] = {}
    now = 0.0
    while waiting or active:
        if not active:
            now = max(now, begin[waiting[0]])
        while waiting and begin[waiting[0]] <= now:
            active.append(waiting.pop(0))
        served = max(active, key=lambda name: tail[name])
        until = now + left[served]
        if waiting and begin[waiting[0]] < until:
            left[served] -= begin[waiting[0]] - now
            now = begin[waiting[0]]
        else:
            now = ends[served] = until
            active.remove(served)
    return ends


def shared_machine(begin: Mapping[str, float], alone: Mapping[str, float]) -> dict[str, float]:
    """When each job ends on a machine that is divided evenly among the jobs that are there."""
    left = dict(alone)
    waiting = sorted(begin, key=lambda name: begin[name])
    active: list[str] = []
    ends: dict[str, float] = {}
    now = 0.0
    while waiting or active:
        if not active:
            now = max(now, begin[waiting[0]])
        while waiting and begin[waiting[0]] <= now:
            active.append(waiting.pop(0))
        shortest = min(left[name] for name in active)
        until = now + shortest * len(active)
        is_joined = bool(waiting) and begin[waiting[0]] < until
        passed = (begin[waiting[0]] - now) / len(active) if is_joined else shortest
        now = begin[waiting[0]] if is_joined else until
        for name in list(active):
            left[name] -= passed
            if not is_joined and left[name] <= alone[name] * 1e-12:
                ends[name] = now
                active.remove(name)
    return ends

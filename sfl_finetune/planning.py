"""Which cut, batch and rank each client gets, so that everything fits and a round is short.

Preferences, in this order: the wanted rank, each client's wanted batch, the shortest round. All clients have one rank,
or each its own. Memory is predicted by running the segments on tensors without data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING

from sfl_finetune.clock import Party, round_seconds
from sfl_finetune.errors import PlanInfeasible, SettingInvalid
from sfl_finetune.lora import LoraSettings, Task
from sfl_finetune.memory import StepShape, measure_client, measure_server
from sfl_finetune.workload import count_step, shape_only_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig, PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.devices import Channel, Device
    from sfl_finetune.memory import SideMemory
    from sfl_finetune.schemes import Scheme
    from sfl_finetune.workload import StepWork

_GIB = 2**30
_MOST_COMBINATIONS = 3000
"""Cuts are tried exhaustively up to here, one client at a time beyond."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be deployed, and on what."""

    config: PretrainedConfig
    task: Task
    scheme: Scheme
    clients: tuple[Device, ...]
    server: Device
    channel: Channel
    num_tokens: int = 128
    cuts: tuple[int, ...] = (1, 2, 3)
    batch_sizes: tuple[int, ...] = (16, 8, 4, 2, 1)
    """The wanted one first, then what may replace it."""
    ranks: tuple[int, ...] = (16, 8, 4)
    """The wanted one first, then what may replace it."""
    has_site_ranks: bool = False
    """True: only the clients that can't hold the wanted rank hold less; False: all have the same."""
    is_u_shaped: bool = False
    """True: head and labels stay at the client."""
    local_steps: int = 1
    """Steps of a round, for its time."""

    def __post_init__(self) -> None:
        """Refuse empty choices and doubled names."""
        if not (self.clients and self.cuts and self.batch_sizes and self.ranks):
            raise SettingInvalid("a plan needs clients, cuts, batch sizes and ranks; one of them is empty")
        if len({device.name for device in self.clients}) != len(self.clients):
            raise SettingInvalid("two clients have the same name; names must differ")
        if self.has_site_ranks and (self.scheme.is_relay or self.scheme.is_batched):
            raise SettingInvalid(f"ranks by site want an adapter per client: not scheme {self.scheme.name!r}")
        if self.is_u_shaped and self.scheme.is_batched:
            raise SettingInvalid("a batched pass wants the head at the server, no U-shape")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One client's part."""

    client: str
    cut_layer: int
    batch_size: int
    rank: int
    memory_gib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A deployment that fits."""

    rank: int
    """The largest of the clients'."""
    assignments: tuple[Assignment, ...]
    server_gib: float
    seconds_per_round: float


@dataclass(frozen=True, slots=True)
class _Choice:
    cut: int
    batch: int
    rank: int


def make_plan(request: Request) -> Plan:
    """The best deployment; raises PlanInfeasible with every device's shortfall where there is none."""
    reasons: list[str] = []
    predict = _Predictor(request)
    for index, rank in enumerate(request.ranks):
        found = _plan_with(request, predict, request.ranks[index:] if request.has_site_ranks else (rank,))
        if isinstance(found, Plan):
            return found
        reasons.append(f"rank {rank}: {found}")
    raise PlanInfeasible("nothing fits. " + "; ".join(reasons))


def _plan_with(request: Request, predict: _Predictor, ranks: tuple[int, ...]) -> Plan | str:
    """A plan, or why there is none."""
    lacking = [
        f"{device.name} has {device.memory_gib:.3g} GiB and needs at least {_least_gib(request, predict, ranks):.3g}"
        for device in request.clients
        if not _largest_batches(request, predict, device, ranks, request.batch_sizes)
    ]
    if lacking:
        return ", ".join(lacking)
    least_gib = 0.0
    # The server's memory follows the largest batch, so it is the clients with the largest ones that take less.
    for index in range(len(request.batch_sizes)):
        batches = request.batch_sizes[index:]
        choices = [_largest_batches(request, predict, device, ranks, batches) for device in request.clients]
        least_gib = min(map(predict.server, _alike(choices))) / _GIB
        if least_gib <= request.server.memory_gib:
            return _fastest(request, predict, _combinations(choices))
    return f"the server has {request.server.memory_gib:.3g} GiB and needs at least {least_gib:.3g}"


def _fastest(request: Request, predict: _Predictor, combinations: Sequence[tuple[_Choice, ...]]) -> Plan:
    """The one with the shortest round among those that fit the server, as one must."""
    fitting = [chosen for chosen in combinations if predict.server(chosen) <= request.server.memory_gib * _GIB]
    best = min(fitting, key=lambda chosen: _seconds(request, predict, chosen))
    return Plan(
        rank=max(one.rank for one in best),
        assignments=tuple(
            Assignment(
                client=device.name,
                cut_layer=one.cut,
                batch_size=one.batch,
                rank=one.rank,
                memory_gib=predict.client(one).total / _GIB,
            )
            for device, one in zip(request.clients, best, strict=True)
        ),
        server_gib=predict.server(best) / _GIB,
        seconds_per_round=_seconds(request, predict, best),
    )


class _Predictor:
    """Memory and work of each choice, computed once."""

    def __init__(self, request: Request) -> None:
        scheme, is_u_shaped = request.scheme, request.is_u_shaped

        def model(rank: int) -> tuple[PreTrainedModel, Anatomy]:
            return shape_only_model(request.config, request.task, LoraSettings(rank=rank), precision=scheme.precision)

        def shape(batch: int) -> StepShape:
            return StepShape(batch_size=batch, num_tokens=request.num_tokens)

        def client(one: _Choice) -> SideMemory:
            return measure_client(*self._model(one.rank), one.cut, scheme, shape(one.batch), is_u_shaped=is_u_shaped)

        def work(one: _Choice) -> StepWork:
            return count_step(*self._model(one.rank), one.cut, scheme, shape(one.batch), is_u_shaped=is_u_shaped)

        def server(cuts: tuple[int, ...], batch: int, rank: int) -> int:
            whole, parts = self._model(rank)
            return measure_server(whole, parts, cuts, scheme, shape(batch), is_u_shaped=is_u_shaped, max_turns=1).total

        self._model = cache(model)
        self.client = cache(client)
        self.work = cache(work)
        self._server = cache(server)

    def server(self, chosen: Sequence[_Choice]) -> int:
        """Server bytes; the largest batch and rank count for all, and the first turn is the one with most layers."""
        cuts = tuple(sorted(one.cut for one in chosen))
        return self._server(cuts, max(one.batch for one in chosen), max(one.rank for one in chosen))


def _largest_batches(
    request: Request, predict: _Predictor, device: Device, ranks: Sequence[int], batches: Sequence[int]
) -> tuple[_Choice, ...]:
    """Every cut that fits with the most wanted of rank and batch that fits at any."""
    for rank, batch in product(ranks, batches):
        wanted = (_Choice(cut, batch, rank) for cut in request.cuts)
        fitting = tuple(one for one in wanted if predict.client(one).total <= device.memory_gib * _GIB)
        if fitting:
            return fitting
    return ()


def _least_gib(request: Request, predict: _Predictor, ranks: tuple[int, ...]) -> float:
    least = (_Choice(cut, min(request.batch_sizes), min(ranks)) for cut in request.cuts)
    return min(predict.client(one).total for one in least) / _GIB


def _combinations(choices: Sequence[tuple[_Choice, ...]]) -> list[tuple[_Choice, ...]]:
    if prod(map(len, choices)) <= _MOST_COMBINATIONS:
        return list(product(*choices))
    first = tuple(options[0] for options in choices)
    single = [
        (*first[:index], option, *first[index + 1 :]) for index, options in enumerate(choices) for option in options
    ]
    return [first, *single, *_alike(choices)]


def _alike(choices: Sequence[tuple[_Choice, ...]]) -> list[tuple[_Choice, ...]]:
    """Cuts as deep as one another, or as each client can; the server needs least with one of these.

    With a seat a client that is the deepest, in a relay the deepest that all can have.
    """
    ordered = [sorted(options, key=lambda one: one.cut) for options in choices]
    depths = range(max(map(len, ordered)))
    return [tuple(options[min(depth, len(options) - 1)] for options in ordered) for depth in depths]


def _seconds(request: Request, predict: _Predictor, chosen: Sequence[_Choice]) -> float:
    parties = [
        Party(name=device.name, device=device, work=predict.work(one))
        for device, one in zip(request.clients, chosen, strict=True)
    ]
    return round_seconds(parties, request.server, request.channel, request.scheme, local_steps=request.local_steps)

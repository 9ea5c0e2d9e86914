"""Which cut, batch and rank each client gets, so that everything fits and a round is short.

Preferences, in this order: the wanted rank, each client's wanted batch, the shortest round. Memory is predicted by
running the segments on tensors without data.
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

    from transformers import PretrainedConfig

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

    def __post_init__(self) -> None:
        """Refuse empty choices and doubled names."""
        if not (self.clients and self.cuts and self.batch_sizes and self.ranks):
            raise SettingInvalid("a plan needs clients, cuts, batch sizes and ranks; one of them is empty")
        if len({device.name for device in self.clients}) != len(self.clients):
            raise SettingInvalid("two clients have the same name; names must differ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One client's part."""

    client: str
    cut_layer: int
    batch_size: int
    memory_gib: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A deployment that fits."""

    rank: int
    assignments: tuple[Assignment, ...]
    server_gib: float
    seconds_per_round: float


def make_plan(request: Request) -> Plan:
    """The best deployment; raises PlanInfeasible with every device's shortfall where there is none."""
    reasons: list[str] = []
    for rank in request.ranks:
        found = _plan_with_rank(request, rank)
        if isinstance(found, Plan):
            return found
        reasons.append(f"rank {rank}: {found}")
    raise PlanInfeasible("nothing fits. " + "; ".join(reasons))


def _plan_with_rank(request: Request, rank: int) -> Plan | str:
    """A plan, or why there is none."""
    predict = _Predictor(request, rank)
    choices: list[list[tuple[int, int]]] = []
    for device in request.clients:
        fitting = _largest_batches(request, predict, device)
        if not fitting:
            least = min(predict.client(cut, min(request.batch_sizes)).total for cut in request.cuts)
            return f"{device.name} has {device.memory_gib:.2f} GiB and needs at least {least / _GIB:.2f}"
        choices.append(fitting)
    best: tuple[float, tuple[tuple[int, int], ...]] | None = None
    for chosen in _combinations(choices):
        if predict.server(chosen) > request.server.memory_gib * _GIB:
            continue
        seconds = _seconds(request, predict, chosen)
        if best is None or seconds < best[0]:
            best = (seconds, chosen)
    if best is None:
        least = min(predict.server(chosen) for chosen in _combinations(choices))
        return f"the server has {request.server.memory_gib:.2f} GiB and needs at least {least / _GIB:.2f}"
    return Plan(
        rank=rank,
        assignments=tuple(
            Assignment(
                client=device.name, cut_layer=cut, batch_size=batch, memory_gib=predict.client(cut, batch).total / _GIB
            )
            for device, (cut, batch) in zip(request.clients, best[1], strict=True)
        ),
        server_gib=predict.server(best[1]) / _GIB,
        seconds_per_round=best[0],
    )


class _Predictor:
    """Memory and work of each choice, computed once."""

    def __init__(self, request: Request, rank: int) -> None:
        model, parts = shape_only_model(
            request.config, request.task, LoraSettings(rank=rank), precision=request.scheme.precision
        )
        scheme = request.scheme

        def shape(batch: int) -> StepShape:
            return StepShape(batch_size=batch, num_tokens=request.num_tokens)

        def client(cut: int, batch: int) -> SideMemory:
            return measure_client(model, parts, cut, scheme, shape(batch))

        def work(cut: int, batch: int) -> StepWork:
            return count_step(model, parts, cut, scheme, shape(batch))

        def server(cuts: tuple[int, ...], batch: int) -> int:
            return measure_server(model, parts, cuts, scheme, shape(batch), max_turns=1).total

        self.client = cache(client)
        self.work = cache(work)
        self._server = cache(server)

    def server(self, chosen: Sequence[tuple[int, int]]) -> int:
        """Server bytes; the largest batch counts for all, and the first turn is the one with most layers."""
        return self._server(tuple(sorted(cut for cut, _ in chosen)), max(batch for _, batch in chosen))


def _largest_batches(request: Request, predict: _Predictor, device: Device) -> list[tuple[int, int]]:
    """(cut, batch) with the most wanted batch that fits at any cut."""
    for batch in request.batch_sizes:
        fitting = [(cut, batch) for cut in request.cuts if predict.client(cut, batch).total <= device.memory_gib * _GIB]
        if fitting:
            return fitting
    return []


def _combinations(choices: Sequence[list[tuple[int, int]]]) -> list[tuple[tuple[int, int], ...]]:
    if prod(map(len, choices)) <= _MOST_COMBINATIONS:
        return list(product(*choices))
    first = tuple(options[0] for options in choices)
    single = [
        (*first[:index], option, *first[index + 1 :]) for index, options in enumerate(choices) for option in options
    ]
    uniform = [
        tuple(options[min(depth, len(options) - 1)] for options in choices) for depth in range(max(map(len, choices)))
    ]
    return [first, *single, *uniform]


def _seconds(request: Request, predict: _Predictor, chosen: Sequence[tuple[int, int]]) -> float:
    parties = [
        Party(name=device.name, device=device, work=predict.work(cut, batch))
        for device, (cut, batch) in zip(request.clients, chosen, strict=True)
    ]
    return round_seconds(parties, request.server, request.channel, request.scheme)

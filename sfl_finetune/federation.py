"""Sites and server brought together, and what happens in one round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from sfl_finetune.adapter_folder import fill_adapter
from sfl_finetune.aggregation import aggregate, fedavg
from sfl_finetune.anatomy import anatomy
from sfl_finetune.client import Client
from sfl_finetune.errors import MessageInvalid, ModelUnsupported, SettingInvalid, SflError, TrainingFailed
from sfl_finetune.exact_average import Bases
from sfl_finetune.faults import Fault, FaultKind, fault_of, is_absent, spoil
from sfl_finetune.link import InProcessLink
from sfl_finetune.lora import (
    AdapterState,
    attach,
    check_placement,
    keep_trainable_in_fp32,
    load_state,
    trainable_state,
)
from sfl_finetune.optimisation import make_optimiser, take_step
from sfl_finetune.ranks import check_ranks, leading
from sfl_finetune.round_report import RoundReport, Tally
from sfl_finetune.server import Pending, Server
from sfl_finetune.split import check_cut, client_segment, head_segment
from sfl_finetune.whole import WholeModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from peft import PeftConfig
    from transformers import PreTrainedModel

    from sfl_finetune.corpus import Site
    from sfl_finetune.federation_settings import FederationSettings
    from sfl_finetune.wire import Message

_T = TypeVar("_T")


class Federation:
    """All parties of a run in one process, with everything between them crossing a link as bytes."""

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: PeftConfig,
        sites: Sequence[Site],
        settings: FederationSettings,
        *,
        start: Mapping[str, torch.Tensor] | None = None,
        faults: Sequence[Fault] = (),
        serve_order: Callable[[Sequence[str]], Sequence[str]] | None = None,
        finish_seconds: Callable[[int, Sequence[str]], Mapping[str, float]] | None = None,
    ) -> None:
        """`model` is the plain base and belongs to the federation.

        `start` holds the weights of an adapter folder to go on from. `serve_order` sorts the clients that wait;
        `finish_seconds` tells when each client of a round would finish.
        """
        self.settings = settings
        self.faults = tuple(faults)
        self._serve_order = serve_order
        self._finish_seconds = finish_seconds
        self._prepare_model(model, adapter, start)
        self.state: AdapterState = trainable_state(self.model)
        """The global adapter; with exact averages the changed weights of the base as well."""
        self.uplink, self.returns, self.downlink = (
            InProcessLink(codec=settings.scheme.wire, limit_bytes=settings.limit_bytes) for _ in range(3)
        )
        self.clients: dict[str, Client] = {}
        self.whole: WholeModel | None = None
        self._bases: Bases | None = None
        if settings.scheme.is_split:
            self._seat_parties(sites)
        else:
            batch_size = settings.batch_of("all")
            self.whole = WholeModel(self.model, sites, settings.task, batch_size, settings.optimiser, settings.seed)

    def _prepare_model(
        self, model: PreTrainedModel, adapter: PeftConfig, start: Mapping[str, torch.Tensor] | None
    ) -> None:
        settings = self.settings
        if settings.scheme.precision == "bf16":
            model = model.to(torch.bfloat16)
        self.tuned = attach(model, adapter, seed=settings.seed)
        if start is not None:
            fill_adapter(self.tuned, start)
        self.model: PreTrainedModel = self.tuned.base_model.model.train()
        if settings.aggregation == "freeze_a":
            for name, weight in self.model.named_parameters():
                weight.requires_grad_(weight.requires_grad and ".lora_A." not in name)
        self.model.config.use_cache = False
        self.parts = anatomy(self.model)
        keep_trainable_in_fp32(self.model, self.parts)
        check_placement(self.model, self.parts)

    def _seat_parties(self, sites: Sequence[Site]) -> None:
        settings = self.settings
        cuts = {site.name: settings.cut_of(site.name) for site in sites}
        for cut in cuts.values():
            check_cut(cut, self.parts.num_layers)
        if settings.ranks:
            check_ranks(settings.ranks, list(cuts), self.state)
        self._check_joins(list(cuts))
        for site in sites:
            self.clients[site.name] = Client(
                site,
                client_segment(self.model, self.parts, cut_layer=cuts[site.name]),
                head=head_segment(self.model, self.parts) if settings.is_u_shaped else None,
                task=settings.task,
                batch_size=settings.batch_of(site.name),
                optimiser=settings.optimiser,
                seed=settings.seed,
                rank=settings.ranks.get(site.name),
            )
        self.server = Server(
            self.model,
            self.parts,
            cuts,
            scheme=settings.scheme,
            optimiser=settings.optimiser,
            is_u_shaped=settings.is_u_shaped,
            seed=settings.seed,
            ranks=settings.ranks,
        )
        for name, client in self.clients.items():
            owned = {*client.names, *self.server.seats[name].slots.names}
            if owned != set(self.state):
                raise ModelUnsupported(f"no segment owns {min(set(self.state) ^ owned)!r}; this model can't be split")
        if settings.aggregation == "exact" and not settings.scheme.is_relay:
            segments = [client.segment.model for client in self.clients.values()]
            segments += [seat.segment.model for seat in self.server.seats.values()]
            self._bases = Bases([self.model, *segments], self.state)
        self._synced = {name: nn.Parameter(value.clone()) for name, value in self.state.items()}
        self._sync_optimiser = make_optimiser(self._synced.values(), settings.optimiser)
        if settings.ranks:
            # What only the larger ranks would hold of the first adapter goes where every client has it.
            self._merge([self.state], [1.0])

    def _check_joins(self, names: Sequence[str]) -> None:
        joins = self.settings.joins
        unknown = [name for name in joins if name not in names]
        if unknown:
            raise SettingInvalid(f"site {unknown[0]!r} is to join but has no texts; sites: {', '.join(names)}")
        if all(joins.get(name, 0) > 0 for name in names):
            raise SettingInvalid(f"every site joins later ({dict(joins)}); one must be there in round 0")

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser with state worth keeping, by its owner."""
        if self.whole is not None:
            return {"whole": self.whole.optimiser}
        if self.settings.sync == "gradients":
            return {} if self._sync_optimiser is None else {"sync": self._sync_optimiser}
        found = {f"client {name}": client.optimiser for name, client in self.clients.items()}
        # In a relay several clients share a seat, whose optimiser is then named after the first of them.
        seats = {id(seat): (name, seat) for name, seat in reversed(self.server.seats.items())}
        found |= {f"seat {name}": seat.optimiser for name, seat in seats.values()}
        return {owner: optimiser for owner, optimiser in found.items() if optimiser is not None}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from another global adapter."""
        self.state = {name: value.clone() for name, value in state.items()}
        self.publish()
        if self._bases is not None:
            self._bases.load(state)
        if self.whole is None:
            load_state(self._synced, self._synced.values(), state)

    def publish(self) -> None:
        """Write the global adapter into the unsplit model, to be evaluated or saved."""
        own = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        load_state(own, own.values(), self.state)

    def run_round(self, round_: int) -> RoundReport:
        """One round, counted from 0; raises TrainingFailed where nobody took part."""
        sent_before, served_before = self._bytes_up(), self.downlink.traffic.num_bytes
        tally = Tally()
        if self.whole is not None:
            self._whole_round(self.whole, round_, tally)
        else:
            joined = [name for name in self.clients if self.settings.joins.get(name, 0) <= round_]
            present = [name for name in joined if not is_absent(self.faults, name, round_)]
            tally.dropped |= {name: "absent" for name in joined if name not in present}
            present = self._in_time(present, round_, tally)
            if self.settings.scheme.is_relay:
                self._relay_round(present, round_, tally)
            else:
                self._parallel_round(present, round_, tally)
        if not tally.targets:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in tally.dropped.items())
            raise TrainingFailed(f"round {round_}: no client took part: {reasons}")
        num_targets = sum(tally.targets.values())
        return RoundReport(
            round=round_,
            loss=sum(tally.loss_sums.values()) / num_targets,
            num_targets=num_targets,
            participants=tuple(tally.targets),
            dropped=tally.dropped,
            uplink_bytes=self._bytes_up() - sent_before,
            downlink_bytes=self.downlink.traffic.num_bytes - served_before,
            learning_rate=self._rate(round_ * self.settings.local_steps),
        )

    def _in_time(self, present: list[str], round_: int, tally: Tally) -> list[str]:
        deadline = self.settings.deadline_seconds
        if deadline is None or self._finish_seconds is None:
            return present
        in_time = list(present)
        while in_time:
            finish = self._finish_seconds(round_, in_time)
            late = [name for name in in_time if finish[name] > deadline]
            if not late:
                break
            # One at a time: who waits for it, in a relay or at each step's end, may be in time without it.
            name = late[0] if self.settings.scheme.is_relay else max(late, key=lambda one: finish[one])
            tally.dropped[name] = f"would finish at {finish[name]:.3g} s, deadline {deadline:.3g} s"
            in_time.remove(name)
        return in_time

    def _bytes_up(self) -> int:
        return self.uplink.traffic.num_bytes + self.returns.traffic.num_bytes

    def _rate(self, step: int) -> float:
        return self.settings.optimiser.rate_at(step, self.settings.num_rounds * self.settings.local_steps)

    def _whole_round(self, whole: WholeModel, round_: int, tally: Tally) -> None:
        for local in range(self.settings.local_steps * whole.num_sites):
            rate = self._rate(round_ * self.settings.local_steps + local // whole.num_sites)
            loss, num_targets = whole.step(round_ * self.settings.local_steps * whole.num_sites + local, rate)
            tally.add("all", loss, num_targets)
        self.state = trainable_state(self.model)

    def _relay_round(self, present: Sequence[str], round_: int, tally: Tally) -> None:
        for name in present:
            client, seat = self.clients[name], self.server.seats[name]
            client.load(self.state)
            seat.load(self.state)
            for local in range(self.settings.local_steps):
                if name in tally.dropped:
                    break
                self._steps([name], round_, local, tally)
            if name in tally.targets:
                self.state = {**client.state(), **seat.state()}

    def _parallel_round(self, present: Sequence[str], round_: int, tally: Tally) -> None:
        for name in present:
            state = leading(self.state, self.settings.ranks.get(name))
            self.clients[name].load(state)
            self.server.seats[name].load(state)
        for local in range(self.settings.local_steps):
            self._steps([name for name in present if name not in tally.dropped], round_, local, tally)
        survivors = list(tally.targets)
        if not survivors:
            return
        weights = [float(tally.targets[name]) for name in survivors]
        if self.settings.sync == "gradients":
            self._sync_step(survivors, weights, self._rate(round_))
        else:
            self._merge([{**self.clients[n].state(), **self.server.seats[n].state()} for n in survivors], weights)

    def _merge(self, states: Sequence[AdapterState], weights: Sequence[float]) -> None:
        """Take the average of `states` for the global adapter."""
        ranks = self.settings.ranks
        shared_rank = min(ranks.values()) if ranks else None
        merged = aggregate(states, weights, self.settings.aggregation, former=self.state, shared_rank=shared_rank)
        # The order of names is the unsplit model's, whatever the first survivor's cut.
        self.state = {name: merged[name] for name in self.state if name in merged}
        if self._bases is not None:
            self._bases.add_residuals(states, weights, merged)
            self.state |= self._bases.state()

    def _sync_step(self, survivors: Sequence[str], weights: Sequence[float], rate: float) -> None:
        gradients = []
        for name in survivors:
            client, seat = self.clients[name], self.server.seats[name]
            owned = zip((*client.names, *seat.slots.names), (*client.adapter, *seat.adapter), strict=True)
            gradients.append({key: torch.zeros_like(w) if w.grad is None else w.grad for key, w in owned})
        mean = fedavg(gradients, weights)
        for key, weight in self._synced.items():
            weight.grad = mean[key]
        take_step(self._sync_optimiser, self.settings.optimiser, rate)
        self.state = {key: weight.detach().clone() for key, weight in self._synced.items()}
        for name in self.clients:
            self._forget(name)

    def _steps(self, names: Sequence[str], round_: int, local: int, tally: Tally) -> None:
        """One local step of each client: all send, the server serves, all receive."""
        step = round_ * self.settings.local_steps + local
        waiting = self._send_all(names, round_, step, local, tally)
        if self._serve_order is not None and len(waiting) > 1:
            order = list(self._serve_order(waiting))
            self.uplink.reorder([waiting.index(name) for name in order])
            waiting = order
        if self.settings.scheme.is_batched:
            self._serve_together(waiting, round_, step, local, tally)
        elif self.settings.scheme.all_in_flight:
            pending = {name: self._try(name, tally, self._admit) for name in waiting}
            for name, one in pending.items():
                self._serve(name, one, round_, step, local, tally)
        else:
            for name in waiting:
                self._serve(name, self._try(name, tally, self._admit), round_, step, local, tally)

    def _send_all(self, names: Sequence[str], round_: int, step: int, local: int, tally: Tally) -> list[str]:
        waiting = []
        for name in names:
            fault = fault_of(self.faults, name, round_, local)

            def send(name: str = name, fault: FaultKind | None = fault) -> bool:
                message = self.clients[name].forward(round_, step)
                self.uplink.send(spoil(message, fault, self.settings.limit_bytes))
                return True

            if self._try(name, tally, send):
                waiting.append(name)
        return waiting

    def _admit(self) -> Pending:
        return self.server.forward(self.uplink.receive())

    def _serve_together(self, waiting: Sequence[str], round_: int, step: int, local: int, tally: Tally) -> None:
        received = {name: self._try(name, tally, self.uplink.receive) for name in waiting}
        messages = [message for message in received.values() if message is not None]
        for message, answer in zip(messages, self.server.together(messages), strict=True):

            def learn(message: Message = message, answer: Message | MessageInvalid = answer) -> tuple[float, int]:
                if isinstance(answer, MessageInvalid):
                    raise answer
                num_targets = message.extra.get("num_targets", 0)
                has_vanished = fault_of(self.faults, message.client, round_, local) == "vanish"
                return self._learn(message.client, answer, step, num_targets, has_vanished=has_vanished)

            learnt = self._try(message.client, tally, learn)
            if learnt is not None:
                tally.add(message.client, *learnt)

    def _learn(
        self, name: str, reply: Message, step: int, num_targets: int, *, has_vanished: bool
    ) -> tuple[float, int]:
        """The steps of seat and client on a reply; gives loss and number of targets."""
        is_synced = self.settings.sync == "gradients"
        if not is_synced:
            self.server.step(name, self._rate(step))
        if has_vanished:
            raise MessageInvalid(f"client {name!r} vanished between sending and receiving")
        self.downlink.send(reply)
        self.clients[name].backward(self.downlink.receive())
        if not is_synced:
            self.clients[name].step(self._rate(step))
        if reply.loss is None:
            raise MessageInvalid(f"client {name!r} reported no loss")
        return reply.loss, num_targets

    def _serve(self, name: str, pending: Pending | None, round_: int, step: int, local: int, tally: Tally) -> None:
        """The server's step for one client, then the client's own; whoever fails is out for this round."""
        if pending is None:
            return
        has_vanished = fault_of(self.faults, name, round_, local) == "vanish"

        def learn() -> tuple[float, int]:
            reply = self._server_backward(name, pending, has_vanished=has_vanished)
            num_targets = pending.message.extra.get("num_targets", len(pending.received))
            return self._learn(name, reply, step, num_targets, has_vanished=has_vanished)

        learnt = self._try(name, tally, learn)
        if learnt is not None:
            tally.add(name, *learnt)

    def _server_backward(self, name: str, pending: Pending, *, has_vanished: bool) -> Any:
        if not self.settings.is_u_shaped:
            return self.server.backward(pending)
        if has_vanished:
            raise MessageInvalid(f"client {name!r} vanished before it returned its features' gradient")
        self.downlink.send(self.server.features(pending))
        # Its own direction of the port: other clients' activations may still wait on the uplink.
        self.returns.send(self.clients[name].finish(self.downlink.receive()))
        return self.server.backward(pending, self.returns.receive())

    def _try(self, name: str, tally: Tally, work: Callable[[], _T]) -> _T | None:
        """The result of `work`, or None once the client has been dropped from the round for what it sent."""
        try:
            return work()
        except SflError as error:
            self._forget(name)
            tally.drop(name, str(error))
            return None

    def _forget(self, name: str) -> None:
        self.clients[name].forget()
        self.server.forget(name)

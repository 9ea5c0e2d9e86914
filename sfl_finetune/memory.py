"""Memory of either side, measured: every tensor that lives during a step is followed from its making to its end.

On tensors of device "meta", which have shapes but no data, the same code predicts what a real step needs.
"""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from sfl_finetune.errors import SettingInvalid
from sfl_finetune.lora import AdapterSlots
from sfl_finetune.optimisation import OptimiserSettings, make_optimiser
from sfl_finetune.split import client_segment, server_segment
from sfl_finetune.wire import Message, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from transformers import PreTrainedModel

    from sfl_finetune.anatomy import Anatomy
    from sfl_finetune.schemes import Scheme


class TensorMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its hook untyped
    """Bytes of the tensors made while it is on and still alive."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: set[int] = set()

    def ignore(self, tensors: Iterable[Tensor]) -> None:
        """Leave out tensors that were there before, such as weights, however often views of them are made."""
        for tensor in tensors:
            self._known.add(_key(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and follow the storages of its results."""
        del types
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._follow, result)
        return result

    def _follow(self, tensor: Tensor) -> Tensor:
        key = _key(tensor)
        if key not in self._known:
            storage = tensor.untyped_storage()
            size = storage.nbytes()
            self._known.add(key)
            self.live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.live_bytes)
            weakref.finalize(storage, self._forget, key, size)
        return tensor

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live_bytes -= size


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the storage's identity; meta tensors have no address


class SavedTensorMeter:
    """Bytes that autograd saves for the backward pass, each storage once; weights given to it are left out."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Counting begins on entry."""
        self._skip = {_key(weight) for weight in weights}
        self.sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            if _key(tensor) not in self._skip:
                self.sizes[_key(tensor)] = tensor.untyped_storage().nbytes()
            return tensor

        self._hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)

    def __enter__(self) -> Self:
        """Begin to count."""
        self._hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting; what was counted stays."""
        self._hooks.__exit__()

    @property
    def saved_bytes(self) -> int:
        """What was saved so far."""
        return sum(self.sizes.values())


class ResidentMeter:
    """How far the process's resident memory rises while it is on; Linux only.

    The allocator must give freed memory back (MALLOC_MMAP_THRESHOLD_=65536 for glibc), or its reserve is measured too.
    """

    def __init__(self) -> None:
        """Nothing is measured yet."""
        self.rise_bytes = 0
        self._before = 0

    def __enter__(self) -> Self:
        """Reset the kernel's high-water mark."""
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        """Read the mark."""
        self.rise_bytes = _status_bytes("VmHWM") - self._before


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise SettingInvalid(f"this system's /proc/self/status has no {field}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SideMemory:
    """Where one side's bytes are."""

    base: int
    """Frozen weights."""
    adapters: int
    """Trainable weights of all seats."""
    optimiser: int
    """Moments of all seats."""
    held: int
    """Alive between a forward pass and its backward pass, for all batches in flight."""
    step_peak: int
    """Most that a step adds to weights and moments: what is held, recomputed, temporary, and gradients."""
    wire: int
    """Messages that wait."""

    @property
    def total(self) -> int:
        """Everything at the worst moment."""
        return self.base + self.adapters + self.optimiser + self.step_peak + self.wire

    def as_dict(self) -> dict[str, int]:
        """All fields with the total."""
        return asdict(self) | {"total": self.total}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepShape:
    """Size of one client's batch."""

    batch_size: int
    num_tokens: int


def measure_server(
    model: PreTrainedModel,
    parts: Anatomy,
    cuts: Sequence[int],
    scheme: Scheme,
    shape: StepShape,
    *,
    max_turns: int | None = None,
    beside: AbstractContextManager[object] | None = None,
) -> SideMemory:
    """The server's memory in one step of `len(cuts)` clients on random activations.

    Where clients are served in turn, `max_turns` turns are enough: each frees what it used. `beside` is entered for the
    turns alone, for a second meter.
    """
    seats = _seats(model, parts, cuts, scheme)
    weights = _unique(weight for segment, _, _ in seats for weight in segment.parameters())
    adapters = _unique(weight for _, adapter, _ in seats for weight in adapter)
    frozen = [weight for weight in weights if not weight.requires_grad]
    message = _message(model, shape)
    num_waiting = 0 if scheme.is_relay or scheme.all_in_flight else len(cuts) - 1
    turns = seats if scheme.all_in_flight else seats[:max_turns]
    with beside or nullcontext():
        held, peak = _run_server_steps(model, turns, scheme, shape, known=[*weights, *adapters])
    return SideMemory(
        base=_num_bytes(frozen),
        adapters=_num_bytes(adapters),
        # AdamW keeps two moments of the weight's own type, and its step count.
        optimiser=sum(_optimiser_bytes(adapter) for adapter in {id(a): a for _, a, _ in seats}.values()),
        held=held,
        step_peak=peak,
        wire=len(encode(message, scheme.wire)) * num_waiting,
    )


def _seats(model: PreTrainedModel, parts: Anatomy, cuts: Sequence[int], scheme: Scheme) -> list[Any]:
    shared: dict[int, tuple[nn.Module, AdapterSlots, tuple[nn.Parameter, ...]]] = {}
    seats: list[Any] = []
    for cut in cuts:
        if scheme.copies_base or cut not in shared:
            segment = server_segment(model, parts, cut_layer=cut, share_frozen=not scheme.copies_base).train()
            if scheme.checkpointing:
                segment.checkpoint_activations()
            slots = AdapterSlots(segment)
            shared[cut] = (segment, slots, slots.current())
        segment_, slots, first = shared[cut]
        is_first = scheme.is_relay or not any(first is adapter for _, adapter, _ in seats)
        seats.append((segment_, first if is_first else slots.fresh(), slots))
    return seats


def _run_server_steps(
    model: PreTrainedModel, seats: Sequence[Any], scheme: Scheme, shape: StepShape, *, known: Iterable[Tensor]
) -> tuple[int, int]:
    device, dtype = model.device, model.dtype
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long, device=device)
    pending = []
    held = 0
    with TensorMeter() as meter:
        meter.ignore(known)
        for segment, adapter, slots in seats:
            slots.fill(adapter)
            received = torch.randn(
                shape.batch_size, shape.num_tokens, model.config.hidden_size, device=device, requires_grad=True
            )
            pending.append((segment(received.to(dtype), attention_mask(model, shape), labels).loss, adapter, slots))
            del received
            held = max(held, meter.live_bytes)
            if not scheme.all_in_flight:
                _finish(pending)
        _finish(pending)
    return held, meter.peak_bytes


def _finish(pending: list[Any]) -> None:
    while pending:
        loss, adapter, slots = pending.pop(0)
        slots.fill(adapter)
        torch.autograd.backward(loss)
        for weight in adapter:
            weight.grad = None
        del loss


def measure_client(
    model: PreTrainedModel, parts: Anatomy, cut_layer: int, scheme: Scheme, shape: StepShape
) -> SideMemory:
    """One client's memory in one step; its message out and the gradient in are counted as waiting."""
    segment = client_segment(model, parts, cut_layer=cut_layer).train()
    adapter = AdapterSlots(segment).current()
    frozen = [weight for weight in _unique(segment.parameters()) if not weight.requires_grad]
    token_ids = torch.full((shape.batch_size, shape.num_tokens), 3, device=model.device)
    with TensorMeter() as meter:
        meter.ignore(segment.parameters())
        sent = segment(token_ids, attention_mask(model, shape))
        held = meter.live_bytes
        if sent.requires_grad:
            torch.autograd.backward(sent, torch.ones_like(sent))
    for weight in adapter:
        weight.grad = None
    return SideMemory(
        base=_num_bytes(frozen),
        adapters=_num_bytes(adapter),
        optimiser=_optimiser_bytes(adapter),
        held=held,
        step_peak=meter.peak_bytes,
        wire=2 * len(encode(_message(model, shape), scheme.wire)),
    )


def measure_whole(model: PreTrainedModel, shape: StepShape) -> SideMemory:
    """Memory of the unsplit model in one step: the centralised scheme."""
    adapter = tuple(weight for weight in model.parameters() if weight.requires_grad)
    token_ids = torch.full((shape.batch_size, shape.num_tokens), 3, device=model.device)
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long, device=model.device)
    with TensorMeter() as meter:
        meter.ignore(model.parameters())
        loss = model(input_ids=token_ids, attention_mask=attention_mask(model, shape), labels=labels).loss
        held = meter.live_bytes
        torch.autograd.backward(loss)
    for weight in adapter:
        weight.grad = None
    return SideMemory(
        base=_num_bytes(weight for weight in model.parameters() if not weight.requires_grad),
        adapters=_num_bytes(adapter),
        optimiser=_optimiser_bytes(adapter),
        held=held,
        step_peak=meter.peak_bytes,
        wire=0,
    )


def attention_mask(model: PreTrainedModel, shape: StepShape) -> Tensor:
    """(B, 1, L, L): every token sees every other, in the form that models make of a padding mask."""
    size = (shape.batch_size, 1, shape.num_tokens, shape.num_tokens)
    return torch.ones(size, dtype=torch.bool, device=model.device)


def message_bytes(model: PreTrainedModel, shape: StepShape, scheme: Scheme) -> int:
    """Size on the wire of one batch's activations."""
    return len(encode(_message(model, shape), scheme.wire))


def _message(model: PreTrainedModel, shape: StepShape) -> Message:
    features = torch.zeros(shape.batch_size, shape.num_tokens, model.config.hidden_size)
    mask = torch.ones(shape.batch_size, shape.num_tokens, dtype=torch.long)
    labels = torch.zeros(_label_shape(model, shape), dtype=torch.long)
    return Message(
        kind="activations", client="site", round=0, step=0, features=features, attention_mask=mask, labels=labels
    )


def _label_shape(model: PreTrainedModel, shape: StepShape) -> tuple[int, ...]:
    is_classifier = type(model).__name__.endswith("ForSequenceClassification")
    return (shape.batch_size,) if is_classifier else (shape.batch_size, shape.num_tokens)


def _optimiser_bytes(adapter: tuple[nn.Parameter, ...]) -> int:
    """Moments of a real optimiser after one real step on zero gradients."""
    optimiser = make_optimiser(adapter, OptimiserSettings())
    if optimiser is None:
        return 0
    for weight in adapter:
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for weight in adapter:
        weight.grad = None
    moments = [value for state in optimiser.state_dict()["state"].values() for value in state.values()]
    return _num_bytes(value for value in moments if isinstance(value, Tensor))


def _unique(weights: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return list({id(weight): weight for weight in weights}.values())


def _num_bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

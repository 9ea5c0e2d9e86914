"""The ways to divide the work, as data: what is copied, what waits, what is computed twice, what crosses the link."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from sfl_finetune.wire import Codec

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """One way to fine-tune over several sites."""

    name: str
    is_split: bool = True
    """False: one party holds all texts and the whole model."""
    is_relay: bool = False
    """True: clients take turns and hand one adapter on; nothing is averaged."""
    copies_base: bool = False
    """True: the server holds a base per client."""
    all_in_flight: bool = False
    """True: the server runs every client's forward pass before the first backward pass."""
    checkpointing: bool = False
    """True: the server keeps layer inputs only and computes each layer again in its backward pass."""
    is_batched: bool = False
    """True: the server runs all clients with the same cut in one pass, each text with its client's adapter."""
    is_pipelined: bool = False
    """True: the server begins with the first arrival; False: once all clients have sent."""
    prioritises_replies: bool = False
    """True: where replies share a channel, the client with the longest backward pass is answered first."""
    wire: Codec = "fp32"
    precision: Precision = "fp32"
    """Number format of the frozen base; adapters stay in fp32."""


def centralised() -> Scheme:
    """LoRA on the pooled texts: the accuracy the others are held against."""
    return Scheme(name="centralised", is_split=False)


def sl() -> Scheme:
    """Sequential split learning: one client after another."""
    return Scheme(name="sl", is_relay=True)


def sfl() -> Scheme:
    """Split federated learning with a server model per client, all batches in flight."""
    return Scheme(name="sfl", copies_base=True, all_in_flight=True)


def memory_efficient() -> Scheme:
    """One frozen base at the server, an adapter per client, clients served one after another.

    Source: Chen, Wu, Li, Ji, arXiv 2506.02940.
    """
    return Scheme(name="memory_efficient", is_pipelined=True, prioritises_replies=True)


def lean() -> Scheme:
    """`memory_efficient` with activations checkpointed and an int8 link."""
    return Scheme(name="lean", checkpointing=True, is_pipelined=True, prioritises_replies=True, wire="int8")


def batched() -> Scheme:
    """`lean` with all clients in one pass of the server, which begins once all have sent."""
    return Scheme(
        name="batched",
        all_in_flight=True,
        is_batched=True,
        checkpointing=True,
        prioritises_replies=True,
        wire="int8",
    )


SCHEMES: dict[str, Callable[[], Scheme]] = {
    "centralised": centralised,
    "sl": sl,
    "sfl": sfl,
    "memory_efficient": memory_efficient,
    "lean": lean,
    "batched": batched,
}


def scheme_named(name: str, *, wire: Codec | None = None, precision: Precision | None = None) -> Scheme:
    """The scheme of that name, with another wire format or precision where given."""
    if name not in SCHEMES:
        raise SettingInvalid(f"scheme {name!r} is unknown; allowed: {', '.join(SCHEMES)}")
    scheme = SCHEMES[name]()
    return replace(scheme, wire=wire or scheme.wire, precision=precision or scheme.precision)

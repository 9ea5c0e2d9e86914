"""The port that activations and gradients cross: bytes in, bytes out, counted, nothing shared."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfl_finetune.errors import MessageInvalid
from sfl_finetune.wire import Codec, Message, decode, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

_DEFAULT_LIMIT_BYTES = 256 * 2**20


@dataclass(kw_only=True, slots=True)
class Traffic:
    """What crossed the link so far."""

    num_messages: int = 0
    num_bytes: int = 0


class InProcessLink:
    """One direction of a link inside one process.

    Sender and receiver share no memory: each message becomes one immutable bytes object, and is decoded into new
    tensors only when the receiver asks, so what waits here is as small as the wire format makes it.
    """

    def __init__(self, *, codec: Codec = "fp32", limit_bytes: int = _DEFAULT_LIMIT_BYTES) -> None:
        """Messages over `limit_bytes` are refused before they are stored."""
        self.codec: Codec = codec
        self.limit_bytes = limit_bytes
        self.traffic = Traffic()
        self._waiting: deque[bytes] = deque()

    def send(self, message: Message) -> int:
        """Queue a message; gives its size in bytes."""
        return self.send_bytes(encode(message, self.codec))

    def send_bytes(self, payload: bytes) -> int:
        """Queue what another process encoded."""
        if len(payload) > self.limit_bytes:
            raise MessageInvalid(f"a message of {len(payload)} bytes is over the link's limit of {self.limit_bytes}")
        self._waiting.append(payload)
        self.traffic.num_messages += 1
        self.traffic.num_bytes += len(payload)
        return len(payload)

    def receive(self) -> Message:
        """Decode and remove the message that waited longest."""
        if not self._waiting:
            raise MessageInvalid("nothing waits on the link")
        return decode(self._waiting.popleft())

    def reorder(self, order: Sequence[int]) -> None:
        """Let the waiting messages be received in `order`, a permutation of their positions."""
        if sorted(order) != list(range(len(self._waiting))):
            raise MessageInvalid(f"{list(order)} is no order of {len(self._waiting)} messages")
        waiting = list(self._waiting)
        self._waiting = deque(waiting[position] for position in order)

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be received."""
        return sum(map(len, self._waiting))

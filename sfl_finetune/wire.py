"""Messages as bytes and back: a length-prefixed JSON header, then the tensors' raw bytes. Nothing is ever unpickled.

Layout: 4 bytes little-endian header length, header, buffers in the header's order.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from sfl_finetune.errors import MessageInvalid
from sfl_finetune.quantisation import dequantise_int4, dequantise_int8, int4_group, quantise_int4, quantise_int8

Codec = Literal["fp32", "bf16", "int8", "int4"]
Kind = Literal["activations", "gradient", "features", "feature_gradient", "refusal"]

_PREFIX_BYTES = 4
_MAX_HEADER_BYTES = 4096
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int32": torch.int32,
    "int8": torch.int8,
    "uint8": torch.uint8,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What crosses the link at the cut."""

    kind: Kind
    client: str
    round: int
    step: int
    features: Tensor | None = None
    """(B, L, D), the activations, features or their gradient."""
    attention_mask: Tensor | None = None
    """(B, L), 1 where a token is."""
    labels: Tensor | None = None
    """(B,) classes or (B, L) token ids with -100 where nothing is learnt; absent in a U-shaped split."""
    loss: float | None = None
    reason: str = ""
    """Why the sender was refused."""
    extra: dict[str, int] = field(default_factory=dict)
    """Counts, such as how many targets the batch holds."""


class _Buffer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["features", "scales", "attention_mask", "labels"]
    dtype: Literal["float32", "bfloat16", "int32", "int8", "uint8"]
    shape: list[int] = Field(max_length=4)

    def num_bytes(self) -> int:
        if any(size < 0 for size in self.shape):
            raise MessageInvalid(f"buffer {self.name!r} has shape {self.shape}; sizes are 0 and up")
        return math.prod(self.shape) * _DTYPES[self.dtype].itemsize


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Kind
    client: str = Field(max_length=200)
    round: int = Field(ge=0)
    step: int = Field(ge=0)
    codec: Codec
    loss: float | None = None
    reason: str = Field(default="", max_length=1000)
    extra: dict[str, int] = Field(default_factory=dict, max_length=8)
    mask_shape: list[int] = Field(default_factory=list, max_length=2)
    buffers: list[_Buffer] = Field(max_length=4)


def encode(message: Message, codec: Codec) -> bytes:
    """The message's bytes; features are stored as `codec` says, masks as bits, labels as int32."""
    tensors = _pack(message, codec)
    head = _head(message, codec, tensors)
    return b"".join([len(head).to_bytes(_PREFIX_BYTES, "little"), head, *map(_raw_bytes, tensors.values())])


def encoded_size(message: Message, codec: Codec) -> int:
    """How many bytes `encode` makes; tensors on device "meta", which have no data, are enough."""
    tensors = _pack(message, codec)
    buffers = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return _PREFIX_BYTES + len(_head(message, codec, tensors)) + buffers


def _pack(message: Message, codec: Codec) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    if message.features is not None:
        tensors |= _pack_features(_at_hand(message.features.detach()), codec)
    if message.attention_mask is not None:
        tensors["attention_mask"] = _pack_bits(_at_hand(message.attention_mask))
    if message.labels is not None:
        tensors["labels"] = _at_hand(message.labels).to(torch.int32)
    return tensors


def _at_hand(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_meta else tensor.cpu()


def _head(message: Message, codec: Codec, tensors: dict[str, Tensor]) -> bytes:
    header = {
        "kind": message.kind,
        "client": message.client,
        "round": message.round,
        "step": message.step,
        "codec": codec,
        "loss": message.loss,
        "reason": message.reason[:1000],
        "extra": message.extra,
        "mask_shape": [] if message.attention_mask is None else list(message.attention_mask.shape),
        "buffers": [
            {"name": name, "dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
            for name, tensor in tensors.items()
        ],
    }
    return json.dumps({key: value for key, value in header.items() if value not in (None, "", {})}).encode()


def decode(payload: bytes) -> Message:
    """The message; its tensors own their memory."""
    header, body = _read_header(payload)
    tensors: dict[str, Tensor] = {}
    offset = 0
    for buffer in header.buffers:
        size = buffer.num_bytes()
        if offset + size > len(body):
            raise MessageInvalid(f"buffer {buffer.name!r} wants {size} bytes, {len(body) - offset} are left")
        flat = torch.frombuffer(bytearray(body[offset : offset + size]), dtype=torch.uint8) if size else torch.empty(0)
        tensors[buffer.name] = flat.view(_DTYPES[buffer.dtype]).reshape(buffer.shape)
        offset += size
    if offset != len(body):
        raise MessageInvalid(f"{len(body) - offset} bytes follow the last buffer; none are allowed")
    labels = tensors.get("labels")
    return Message(
        kind=header.kind,
        client=header.client,
        round=header.round,
        step=header.step,
        features=_unpack_features(tensors, header.codec),
        attention_mask=_unpack_bits(tensors.get("attention_mask"), header.mask_shape),
        labels=None if labels is None else labels.long(),
        loss=header.loss,
        reason=header.reason,
        extra=header.extra,
    )


def _read_header(payload: bytes) -> tuple[_Header, memoryview]:
    length = int.from_bytes(payload[:_PREFIX_BYTES], "little")
    if not 0 < length <= min(_MAX_HEADER_BYTES, len(payload) - _PREFIX_BYTES):
        raise MessageInvalid(f"a header of {length} bytes in a message of {len(payload)}; at most {_MAX_HEADER_BYTES}")
    try:
        header = _Header.model_validate_json(payload[_PREFIX_BYTES : _PREFIX_BYTES + length])
    except ValidationError as error:
        raise MessageInvalid(f"unreadable header: {error.errors()[0]['msg']}") from error
    return header, memoryview(payload)[_PREFIX_BYTES + length :]


def _pack_features(features: Tensor, codec: Codec) -> dict[str, Tensor]:
    if codec == "fp32":
        return {"features": features.float()}
    if codec == "bf16":
        return {"features": features.to(torch.bfloat16)}
    codes, scales = (quantise_int8 if codec == "int8" else quantise_int4)(features)
    return {"features": codes, "scales": scales}


def _unpack_features(tensors: dict[str, Tensor], codec: Codec) -> Tensor | None:
    if "features" not in tensors:
        return None
    features, scales = tensors["features"], tensors.get("scales")
    if codec in {"fp32", "bf16"}:
        return features.float()
    if scales is None or scales.shape[:-1] != features.shape[:-1]:
        raise MessageInvalid(f"{codec} features of shape {tuple(features.shape)} came without fitting scales")
    if codec == "int8":
        return dequantise_int8(features, scales)
    if scales.shape[-1] * int4_group(2 * features.shape[-1]) != 2 * features.shape[-1]:
        raise MessageInvalid(f"{scales.shape[-1]} scales for {2 * features.shape[-1]} int4 features")
    return dequantise_int4(features, scales)


def _pack_bits(mask: Tensor) -> Tensor:
    import numpy as np

    if mask.is_meta:
        return torch.empty((mask.numel() + 7) // 8, dtype=torch.uint8, device="meta")
    return torch.from_numpy(np.packbits(mask.bool().numpy().reshape(-1)))


def _unpack_bits(packed: Tensor | None, shape: list[int]) -> Tensor | None:
    import numpy as np

    if packed is None:
        return None
    size = math.prod(shape)
    if len(shape) != 2 or (size + 7) // 8 != packed.numel():
        raise MessageInvalid(f"a mask of shape {shape} in {packed.numel()} bytes")
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=size).reshape(shape).astype(np.int64))


def _raw_bytes(tensor: Tensor) -> Any:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()

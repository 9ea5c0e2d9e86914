"""A small Llama without a deep-learning library: weights from safetensors, forward passes in numpy, a KV cache.

It starts in a tenth of a second, where importing a framework takes seconds; meant for a few million parameters.
Shapes: L new tokens, P tokens so far, D width, H heads, K width of a head, V vocabulary.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from agent.errors import ModelUnavailable

Array = NDArray[np.float32]
_HEADER_BYTES = 8
_MOST_HEADER = 10_000_000


@dataclass(slots=True)
class Cache:
    """Keys and values of every layer so far ([P, H, K])."""

    keys: list[Array]
    values: list[Array]

    @property
    def num_tokens(self) -> int:
        return len(self.keys[0]) if self.keys else 0


class TinyLlama:
    """Logits after the last of the given tokens; the caller keeps the cache."""

    def __init__(self, config: dict[str, float], weights: dict[str, Array]) -> None:
        self._weights = weights
        self._num_layers = int(config["num_hidden_layers"])
        self._num_heads = int(config["num_attention_heads"])
        self._eps = float(config["rms_norm_eps"])
        width = int(config["hidden_size"]) // self._num_heads
        self._frequency = 10_000.0 ** (-np.arange(0, width, 2, dtype=np.float64) / width)

    @property
    def vocab_size(self) -> int:
        return len(self._weights["model.embed_tokens.weight"])

    def logits(self, tokens: list[int], cache: Cache) -> Float32[NDArray[np.float32], " V"]:
        """Extend the cache by the tokens and predict the next one."""
        x_LD = self._weights["model.embed_tokens.weight"][tokens]
        angles = np.outer(np.arange(cache.num_tokens, cache.num_tokens + len(tokens)), self._frequency)
        turn = (np.cos(angles).astype(np.float32)[:, None], np.sin(angles).astype(np.float32)[:, None])
        for layer in range(self._num_layers):
            x_LD = x_LD + self._attend(layer, self._norm(x_LD, f"model.layers.{layer}.input_layernorm"), turn, cache)
            x_LD = x_LD + self._feed(layer, self._norm(x_LD, f"model.layers.{layer}.post_attention_layernorm"))
        last: Array = self._norm(x_LD[-1:], "model.norm")[0]
        scores: Array = self._weights["model.embed_tokens.weight"] @ last
        return scores

    def _norm(self, x_LD: Array, name: str) -> Array:
        scale: Array = 1.0 / np.sqrt((x_LD * x_LD).mean(axis=-1, keepdims=True) + self._eps)
        normed: Array = x_LD * scale * self._weights[f"{name}.weight"]
        return normed

    def _attend(self, layer: int, x_LD: Array, turn: tuple[Array, Array], cache: Cache) -> Array:
        query, key, value = (
            (x_LD @ self._weights[f"model.layers.{layer}.self_attn.{part}_proj.weight"].T).reshape(
                len(x_LD), self._num_heads, -1
            )
            for part in "qkv"
        )
        query, key = _rotated(query, turn), _rotated(key, turn)
        if len(cache.keys) <= layer:
            cache.keys.append(key)
            cache.values.append(value)
        else:
            cache.keys[layer] = np.concatenate((cache.keys[layer], key))
            cache.values[layer] = np.concatenate((cache.values[layer], value))
        keys, values = cache.keys[layer], cache.values[layer]
        scores = np.einsum("lhk,phk->hlp", query, keys) / np.sqrt(np.float32(query.shape[-1]))
        ahead = np.arange(len(keys))[None] > np.arange(len(keys) - len(x_LD), len(keys))[:, None]
        scores = np.where(ahead, np.float32(-1e9), scores)
        weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        mixed = np.einsum("hlp,phk->lhk", weight, values).reshape(len(x_LD), -1)
        out: Array = mixed @ self._weights[f"model.layers.{layer}.self_attn.o_proj.weight"].T
        return out

    def _feed(self, layer: int, x_LD: Array) -> Array:
        gate = x_LD @ self._weights[f"model.layers.{layer}.mlp.gate_proj.weight"].T
        up = x_LD @ self._weights[f"model.layers.{layer}.mlp.up_proj.weight"].T
        out: Array = (gate / (1.0 + np.exp(-gate)) * up) @ self._weights[f"model.layers.{layer}.mlp.down_proj.weight"].T
        return out


def load_tiny_llama(folder: Path) -> TinyLlama:
    """Read `config.json` and `model.safetensors`; raises ModelUnavailable for missing, foreign or damaged files."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = _read_safetensors(folder / "model.safetensors")
        model = TinyLlama(config, weights)
        model.logits([0], Cache([], []))
    except (OSError, ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        raise ModelUnavailable(f"weights at {folder}: {type(error).__name__}: {str(error)[:200]}") from error
    return model


def _rotated(x_LHK: Array, turn: tuple[Array, Array]) -> Array:
    """Rotary position embedding. Source: Su et al. 2021, RoFormer, 3.4.2; halves as in Hugging Face's Llama."""
    cos, sin = turn
    first, second = np.split(x_LHK, 2, axis=-1)
    turned: Array = np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)
    return turned


def _read_safetensors(path: Path) -> dict[str, Array]:
    """Every tensor as float32; bf16 is the upper half of float32's bits."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:_HEADER_BYTES])
    if length > min(_MOST_HEADER, len(content)):
        raise ValueError(f"header of {length} bytes in a file of {len(content)}")
    header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + length])
    body = content[_HEADER_BYTES + length :]
    return {name: _tensor(entry, body) for name, entry in header.items() if name != "__metadata__"}


def _tensor(entry: dict[str, object], body: bytes) -> Array:
    start, end = (int(x) for x in entry["data_offsets"])  # type: ignore[attr-defined]  # checked by int()
    shape = [int(x) for x in entry["shape"]]  # type: ignore[attr-defined]  # checked by int()
    if entry["dtype"] == "BF16":
        wide = np.frombuffer(body[start:end], dtype="<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if entry["dtype"] == "F32":
        return np.frombuffer(body[start:end], dtype="<f4").reshape(shape)
    raise ValueError(f"dtype {entry['dtype']} is not supported; BF16 and F32 are")

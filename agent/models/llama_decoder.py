"""Llama's forward pass with nothing around it, for decoding several prompts together.

At a million parameters the arithmetic is a small part of a step: most of it is transformers' way from layer to layer,
which costs as much for a small model as for a large one. Here projections of the same tokens are one matrix, and of
the last layer's tokens only a row's last one, from which the next is foretold, asks anything.
Shapes: B rows, L new tokens, T tokens so far, D width, H heads, K width of a head, C half of it, F width of the
feed-forward part, V vocabulary, 1 broadcast. Matrices are kept in before out, in which order few rows take least time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_ROOM = 96
"""Tokens by which the caches grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One layer's weights; every head has keys and values of its own, also where the model shares them."""

    norm_D: Tensor
    query: Tensor
    """[D, HK]"""
    key_value: Tensor
    """[D, 2HK]"""
    output: Tensor
    """[HK, D]"""
    second_norm_D: Tensor
    gate_up: Tensor
    """[D, 2F]"""
    down: Tensor
    """[F, D]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """Tokens that look back: how they turn, and what they may not see."""

    turn_BL1C: Tensor
    """Of the rotary embedding at their places; complex."""
    is_hidden_B1LT: Tensor | None
    """None where all begin at place 0 and each sees those before it."""


class LlamaDecoder:
    """A Llama's weights as they are when this is made; a model that learns on needs another."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        config = model.config
        self.head_shape: tuple[int, int] = (config.num_attention_heads, model.model.layers[0].self_attn.head_dim)
        """H, K"""
        self._eps: float = config.rms_norm_eps
        self.embedding_VD: Tensor = model.model.embed_tokens.weight
        self.norm_D: Tensor = model.model.norm.weight
        self.head_DV = _in_before_out(model.lm_head.weight)
        self.frequency_C: Tensor = model.model.rotary_emb.inv_freq.float().to(self.embedding_VD.device)
        sharing = config.num_attention_heads // config.num_key_value_heads
        self.layers = tuple(_layer(layer, sharing) for layer in model.model.layers)

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """The decoder of a plain Llama; None for any other model."""
        config = model.config
        is_plain = (
            type(model).__name__ == "LlamaForCausalLM"
            and config.hidden_act == "silu"
            and not config.attention_bias
            and not config.mlp_bias
            and config.rope_parameters["rope_type"] == "default"
            and all(type(part) is nn.Linear for part in _projections(model))
        )
        return cls(model) if is_plain else None

    def start(self, num_rows: int) -> LlamaRows:
        """Rows without any token yet."""
        return LlamaRows(self, num_rows)

    def normed(self, x: Tensor, weight_D: Tensor) -> Tensor:
        """Divided by the root mean square ([..., D])."""
        return functional.rms_norm(x, weight_D.shape, weight_D, self._eps)


class LlamaRows:
    """Several texts in the making, each as long as it is; the caches hold what was read."""

    def __init__(self, decoder: LlamaDecoder, num_rows: int) -> None:
        self._decoder = decoder
        self._device = decoder.embedding_VD.device
        self._row_B1 = torch.arange(num_rows, device=self._device)[:, None]
        self._length_B1 = torch.zeros((num_rows, 1), dtype=torch.long, device=self._device)
        # Keys and values of each layer: [2, B, H, T, K], so that what one head has read lies in one piece.
        num_heads, head_width = decoder.head_shape
        shape = (2, num_rows, num_heads, 0, head_width)
        self._caches = [decoder.embedding_VD.new_zeros(shape) for _ in decoder.layers]

    def step(self, pending: Sequence[Sequence[int]]) -> Float64[NDArray[np.float64], "B V"]:
        """Read each row's tokens, and the logits after them; what a row without tokens gets means nothing."""
        decoder = self._decoder
        longest = max(map(len, pending))
        tokens_BL = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in pending], device=self._device)
        count_B1 = torch.tensor([[len(ids)] for ids in pending], device=self._device)
        # What padding writes lies ahead of its row's tokens, where nothing looks, until a token overwrites it.
        place_BL = self._length_B1 + torch.arange(longest, device=self._device)
        last_B1 = (count_B1 - 1).clamp(min=0)
        are_first = self._caches[0].shape[3] == 0
        num_kept = self._make_room(place_BL)
        every, last = self._asking(place_BL, num_kept, are_first), self._asking(self._length_B1 + last_B1, num_kept)
        x_BLD = decoder.embedding_VD[tokens_BL]
        for layer, cache in zip(decoder.layers, self._caches, strict=True):
            normed_BLD, asking = decoder.normed(x_BLD, layer.norm_D), every
            key_value = (normed_BLD @ layer.key_value).view(*tokens_BL.shape, 2, *decoder.head_shape)
            _rotate(key_value[:, :, 0], every.turn_BL1C)
            cache[:, self._row_B1, :, place_BL] = key_value
            if layer is decoder.layers[-1]:
                x_BLD, normed_BLD, asking = x_BLD[self._row_B1, last_B1], normed_BLD[self._row_B1, last_B1], last
            query = (normed_BLD @ layer.query).view(*x_BLD.shape[:2], *decoder.head_shape)
            _rotate(query, asking.turn_BL1C)
            mixed = _attend(query.transpose(1, 2), cache[:, :, :, :num_kept], asking.is_hidden_B1LT)
            x_BLD = x_BLD + mixed.transpose(1, 2).flatten(2) @ layer.output
            gate, up = (decoder.normed(x_BLD, layer.second_norm_D) @ layer.gate_up).chunk(2, dim=-1)
            x_BLD = x_BLD + functional.silu(gate).mul_(up) @ layer.down
        self._length_B1 += count_B1
        scores_BV = decoder.normed(x_BLD[:, 0], decoder.norm_D) @ decoder.head_DV
        logits_BV: NDArray[np.float64] = scores_BV.double().cpu().numpy()
        return logits_BV

    def _make_room(self, place_BL: Tensor) -> int:
        """Grow the caches where a place lies beyond them, and how many tokens they hold then."""
        num_kept = int(place_BL.max()) + 1
        short = num_kept - self._caches[0].shape[3]
        if short > 0:
            self._caches = [functional.pad(cache, (0, 0, 0, short + _ROOM)) for cache in self._caches]
        return num_kept

    def _asking(self, place_BL: Tensor, num_kept: int, are_first: bool = False) -> _Asking:
        angle_BL1C = (place_BL[..., None] * self._decoder.frequency_C)[:, :, None]
        turn_BL1C = torch.polar(torch.ones_like(angle_BL1C), angle_BL1C)
        if are_first:
            return _Asking(turn_BL1C=turn_BL1C, is_hidden_B1LT=None)
        is_hidden_BLT = torch.arange(num_kept, device=self._device) > place_BL[..., None]
        return _Asking(turn_BL1C=turn_BL1C, is_hidden_B1LT=is_hidden_BLT[:, None])


def _attend(query_BHLK: Tensor, kept: Tensor, is_hidden_B1LT: Tensor | None) -> Tensor:
    """What each query finds in the keys and values kept so far ([2, B, H, T, K]): [B, H, L, K]."""
    if is_hidden_B1LT is None:
        key_BHLK, value_BHLK = kept
        return functional.scaled_dot_product_attention(query_BHLK, key_BHLK, value_BHLK, is_causal=True)
    # For the few queries of a step on, two products of batches take half the time of the fused kernel above.
    keys, values = kept.flatten(1, 2)
    query = (query_BHLK * query_BHLK.shape[-1] ** -0.5).flatten(0, 1)
    score = torch.bmm(query, keys.transpose(1, 2)).view(*query_BHLK.shape[:3], -1)
    weight = score.masked_fill_(is_hidden_B1LT, -torch.inf).softmax(dim=-1)
    return torch.bmm(weight.flatten(0, 1), values).view(query_BHLK.shape)


def _projections(model: Any) -> Iterator[nn.Module]:
    """Every matrix that must be a matrix alone; with an adapter beside it, it would be read without."""
    yield model.lm_head
    for layer in model.model.layers:
        attention, feed = layer.self_attn, layer.mlp
        yield from (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        yield from (feed.gate_proj, feed.up_proj, feed.down_proj)


def _layer(layer: Any, sharing: int) -> _Layer:
    attention, feed = layer.self_attn, layer.mlp

    def own(weight: Tensor) -> Tensor:
        by_head = weight.view(-1, attention.head_dim, weight.shape[1])
        return by_head.repeat_interleave(sharing, dim=0).flatten(0, 1)

    key = _paired(own(attention.k_proj.weight), attention.head_dim)
    return _Layer(
        norm_D=layer.input_layernorm.weight,
        query=_in_before_out(_paired(attention.q_proj.weight, attention.head_dim)),
        key_value=_in_before_out(torch.cat((key, own(attention.v_proj.weight)))),
        output=_in_before_out(attention.o_proj.weight),
        second_norm_D=layer.post_attention_layernorm.weight,
        gate_up=_in_before_out(torch.cat((feed.gate_proj.weight, feed.up_proj.weight))),
        down=_in_before_out(feed.down_proj.weight),
    )


def _in_before_out(weight: Tensor) -> Tensor:
    return weight.t().contiguous()


def _paired(weight: Tensor, head_width: int) -> Tensor:
    """Hugging Face's Llama turns a head's first half with its second; here the two of a pair are neighbours."""
    return weight.view(-1, 2, head_width // 2, weight.shape[1]).transpose(1, 2).flatten(0, 2)


def _rotate(x_BLHK: Tensor, turn_BL1C: Tensor) -> None:
    """Rotary position embedding, in place: neighbours are the real and the imaginary part of what is turned.

    Source: Su et al. 2021, RoFormer, section 3.4.2.
    """
    pairs = x_BLHK.view(*x_BLHK.shape[:-1], -1, 2)
    pairs.copy_(torch.view_as_real(torch.view_as_complex(pairs.float()).mul_(turn_BL1C)))

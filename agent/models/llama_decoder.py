"""Llama's forward pass with nothing around it, for decoding several prompts together.

At a million parameters the arithmetic is a small part of a step: most of it is transformers' way from layer to layer,
which costs as much for a small model as for a large one. Projections that read the same input are one matrix here.
Shapes: B rows, L new tokens, T tokens so far, D width, H heads, K width of a head, C half of it, F width of the
feed-forward part, V vocabulary, 1 broadcast. Matrices are kept in before out, in which order few rows take least time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

_Attend = Callable[[Tensor, Tensor], Tensor]
"""From a layer's queries, keys and values of new tokens ([B, L, 3, H, K]) and its cache to the mixed ([B, L, H, K])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One layer's weights; every head has keys and values of its own, also where the model shares them."""

    norm_D: Tensor
    query_key_value: Tensor
    """[D, 3HK]"""
    output: Tensor
    """[HK, D]"""
    second_norm_D: Tensor
    gate_up: Tensor
    """[D, 2F]"""
    down: Tensor
    """[F, D]"""


class LlamaDecoder:
    """A Llama's weights as they are when this is made; a model that learns on needs another."""

    @torch.no_grad()
    def __init__(self, model: Any) -> None:
        config = model.config
        self.num_heads: int = config.num_attention_heads
        self.head_width: int = model.model.layers[0].self_attn.head_dim
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
        self._length_B = torch.zeros(num_rows, dtype=torch.long, device=self._device)
        # Keys and values of every layer: [layers, 2, B, T, H, K].
        shape = (len(decoder.layers), 2, num_rows, 0, decoder.num_heads, decoder.head_width)
        self._kept = decoder.embedding_VD.new_zeros(shape)

    def step(self, pending: Sequence[Sequence[int]]) -> Float64[NDArray[np.float64], "B V"]:
        """Read each row's tokens, and the logits after them; what a row without tokens gets means nothing."""
        decoder = self._decoder
        longest = max(map(len, pending))
        tokens_BL = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in pending], device=self._device)
        # What padding writes lies ahead of its row's tokens, where nothing looks, until a token overwrites it.
        attend = self._begin(longest) if self._kept.shape[3] == 0 else self._go_on(longest)
        x_BLD = decoder.embedding_VD[tokens_BL]
        for layer, kept in zip(decoder.layers, self._kept, strict=True):
            parts = decoder.normed(x_BLD, layer.norm_D) @ layer.query_key_value
            parts = parts.view(*tokens_BL.shape, 3, decoder.num_heads, decoder.head_width)
            x_BLD = x_BLD + attend(parts, kept).flatten(2) @ layer.output
            gate, up = (decoder.normed(x_BLD, layer.second_norm_D) @ layer.gate_up).chunk(2, dim=-1)
            x_BLD = x_BLD + functional.silu(gate).mul_(up) @ layer.down
        count_B = torch.tensor([len(ids) for ids in pending], device=self._device)
        self._length_B += count_B
        last_BD = x_BLD[self._row_B1[:, 0], (count_B - 1).clamp(min=0)]
        scores_BV = decoder.normed(last_BD, decoder.norm_D) @ decoder.head_DV
        logits_BV: NDArray[np.float64] = scores_BV.double().cpu().numpy()
        return logits_BV

    def _begin(self, longest: int) -> _Attend:
        """How the first tokens see one another: every row begins at place 0, so nothing is read from the caches."""
        self._kept = functional.pad(self._kept, (0, 0, 0, 0, 0, longest + _ROOM))
        turn = self._turn(torch.arange(longest, device=self._device)[None])

        def attend(parts: Tensor, kept: Tensor) -> Tensor:
            query, key, value = _rotated(parts[:, :, 0], turn), _rotated(parts[:, :, 1], turn), parts[:, :, 2]
            kept[0, :, :longest], kept[1, :, :longest] = key, value
            return functional.scaled_dot_product_attention(
                query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), is_causal=True
            ).transpose(1, 2)

        return attend

    def _go_on(self, longest: int) -> _Attend:
        """How further tokens see those before them and one another."""
        position_BL = self._length_B[:, None] + torch.arange(longest, device=self._device)
        num_kept = int(position_BL.max()) + 1
        short = num_kept - self._kept.shape[3]
        if short > 0:
            self._kept = functional.pad(self._kept, (0, 0, 0, 0, 0, short + _ROOM))
        is_seen_B1LT = (torch.arange(num_kept, device=self._device) <= position_BL[..., None])[:, None]
        turn = self._turn(position_BL)

        def attend(parts: Tensor, kept: Tensor) -> Tensor:
            kept[0, self._row_B1, position_BL] = _rotated(parts[:, :, 1], turn)
            kept[1, self._row_B1, position_BL] = parts[:, :, 2]
            keys, values = kept[:, :, :num_kept].transpose(2, 3)
            query = _rotated(parts[:, :, 0], turn).transpose(1, 2)
            return functional.scaled_dot_product_attention(query, keys, values, attn_mask=is_seen_B1LT).transpose(1, 2)

        return attend

    def _turn(self, position_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotary embedding at those places ([B, L, 1, C])."""
        angle_BL1C = (position_BL[..., None] * self._decoder.frequency_C)[:, :, None]
        dtype = self._decoder.embedding_VD.dtype
        return angle_BL1C.cos().to(dtype), angle_BL1C.sin().to(dtype)


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

    parts = (attention.q_proj.weight, own(attention.k_proj.weight), own(attention.v_proj.weight))
    return _Layer(
        norm_D=layer.input_layernorm.weight,
        query_key_value=_in_before_out(torch.cat(parts)),
        output=_in_before_out(attention.o_proj.weight),
        second_norm_D=layer.post_attention_layernorm.weight,
        gate_up=_in_before_out(torch.cat((feed.gate_proj.weight, feed.up_proj.weight))),
        down=_in_before_out(feed.down_proj.weight),
    )


def _in_before_out(weight: Tensor) -> Tensor:
    return weight.t().contiguous()


def _rotated(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position embedding ([..., B, L, H, K]), its halves as in Hugging Face's Llama.

    Source: Su et al. 2021, RoFormer, section 3.4.2.
    """
    cos, sin = turn
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

"""Any causal LM's forward pass through transformers, for decoding several prompts together.

Shapes: B rows, L new tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray


class TransformersDecoder:
    """A model of any kind that transformers knows."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def start(self, num_rows: int) -> TransformersRows:
        """Rows without any token yet."""
        del num_rows
        return TransformersRows(self._model)


class TransformersRows:
    """Several texts in the making; shorter rows are padded on the left and masked."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._keys_values: Any = None
        self._mask_BL: torch.Tensor | None = None

    def step(self, pending: Sequence[Sequence[int]]) -> Float64[NDArray[np.float64], "B V"]:
        """Read each row's tokens, and the logits after them; what a row without tokens gets means nothing."""
        longest = max(map(len, pending))
        tokens_BL = torch.zeros((len(pending), longest), dtype=torch.long)
        fresh_BL = torch.zeros((len(pending), longest), dtype=torch.long)
        for row, ids in enumerate(pending):
            if ids:
                tokens_BL[row, longest - len(ids) :] = torch.tensor(ids)
                fresh_BL[row, longest - len(ids) :] = 1
        self._mask_BL = fresh_BL if self._mask_BL is None else torch.cat((self._mask_BL, fresh_BL), dim=1)
        positions_BL = (self._mask_BL.cumsum(dim=1) - 1).clamp(min=0)[:, -longest:]
        device = self._model.device
        output = self._model(
            input_ids=tokens_BL.to(device),
            attention_mask=self._mask_BL.to(device),
            position_ids=positions_BL.to(device),
            past_key_values=self._keys_values,
            use_cache=True,
            logits_to_keep=1,
        )
        self._keys_values = output.past_key_values
        logits_BV: NDArray[np.float64] = output.logits[:, -1].double().cpu().numpy()
        return logits_BV

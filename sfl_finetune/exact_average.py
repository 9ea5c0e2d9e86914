"""The exact average inside training: what the mean of the factors misses is added to the frozen weights.

Source: Singhal et al. 2024 (FedEx-LoRA), equation 7, here for unequal ranks too. Every party holds the changed weights
from then on: the server in its base, a client in the layers below its cut, which it would be sent once a round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from sfl_finetune.aggregation import Factors, residual

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from sfl_finetune.lora import AdapterState

_A, _B, _WEIGHT = ".lora_A.default.weight", ".lora_B.default.weight", "base|"


class Bases:
    """The frozen weights under the adapters, in every model that holds them."""

    def __init__(self, models: Sequence[nn.Module], names: Iterable[str]) -> None:
        """`names` are those of the adapter's parameters in the unsplit model; it comes first in `models`."""
        self._paths = tuple(name.removesuffix(_A) for name in names if name.endswith(_A))
        self._models = tuple(models)

    def add_residuals(self, states: Sequence[AdapterState], weights: Sequence[float], merged: AdapterState) -> None:
        """Add to each weight what the factors in `merged` miss of the mean of the products in `states`."""
        for path in self._paths:
            layer: Any = self._models[0].get_submodule(path)
            factors = [_factors(state, path) for state in states]
            missing = residual(factors, weights, _factors(merged, path)) * layer.scaling["default"]
            change = missing.T if layer.fan_in_fan_out else missing
            with torch.no_grad():
                for weight in self._holders(path):
                    weight.add_(change.to(weight))

    def state(self) -> dict[str, Tensor]:
        """The weights as they are, to be kept in a checkpoint."""
        return {_WEIGHT + path: self._holders(path)[0].detach() for path in self._paths}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back the weights of `state`, where it has them."""
        with torch.no_grad():
            for path in self._paths:
                if _WEIGHT + path in state:
                    for weight in self._holders(path):
                        weight.copy_(state[_WEIGHT + path])

    def _holders(self, path: str) -> list[Tensor]:
        """The weight wherever it is held; segments that share it with the unsplit model count once."""
        found: dict[int, Tensor] = {}
        for model in self._models:
            try:
                layer: Any = model.get_submodule(path)
            except AttributeError:
                # Another segment owns this layer.
                continue
            weight = layer.get_base_layer().weight
            found[id(weight)] = weight
        return list(found.values())


def _factors(state: Mapping[str, Tensor], path: str) -> Factors:
    return Factors(a=state[path + _A].double(), b=state[path + _B].double())

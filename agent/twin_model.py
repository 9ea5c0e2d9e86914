"""The fitted part of the twin: two small networks that learned from the simulator how often a plan is in time."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from agent.errors import ModelUnavailable
from agent.twin_features import Features, PerFuture

EMBEDDED_TWIN = Path(__file__).parent / "weights" / "twin" / "model.safetensors"

Layer = tuple[Float64[NDArray[np.float64], "out in"], Float64[NDArray[np.float64], " out"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Perceptron:
    """Layers of rectified units that end in one ratio; its input is brought to mean 0 and deviation 1 first."""

    mean: Float64[NDArray[np.float64], " in"]
    deviation: Float64[NDArray[np.float64], " in"]
    layers: tuple[Layer, ...]

    def ratio(self, features: Features) -> PerFuture:
        """One ratio, 0-1, for each future and slice."""
        signal = (features - self.mean) / self.deviation
        for number, (weight, bias) in enumerate(self.layers):
            signal = signal @ weight.T + bias
            if number < len(self.layers) - 1:
                signal = np.maximum(signal, 0.0)
        return 1.0 / (1.0 + np.exp(-np.clip(signal[..., 0], -30.0, 30.0)))

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:
        """For a file, under that name."""
        found = {f"{name}.mean": self.mean, f"{name}.deviation": self.deviation}
        for number, (weight, bias) in enumerate(self.layers):
            found |= {f"{name}.{number}.weight": weight, f"{name}.{number}.bias": bias}
        return {key: np.ascontiguousarray(array, dtype=np.float32) for key, array in found.items()}

    @classmethod
    def from_tensors(cls, name: str, tensors: dict[str, NDArray[np.float32]]) -> Self:
        """Read back what `tensors` gave; raises KeyError where a part is absent."""
        exact = {key: array.astype(np.float64) for key, array in tensors.items()}
        numbers = range(sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in exact))
        layers = tuple((exact[f"{name}.{number}.weight"], exact[f"{name}.{number}.bias"]) for number in numbers)
        return cls(mean=exact[f"{name}.mean"], deviation=exact[f"{name}.deviation"], layers=layers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwinModel:
    """How often packets and tasks are in time, given `twin_features`."""

    radio: Perceptron
    tasks: Perceptron

    def save(self, path: Path) -> None:
        """Write safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.radio.tensors("radio") | self.tasks.tensors("tasks"), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read safetensors; raises ModelUnavailable where they are absent or of another kind."""
        try:
            tensors = load_file(path)
            return cls(radio=Perceptron.from_tensors("radio", tensors), tasks=Perceptron.from_tensors("tasks", tensors))
        except (OSError, SafetensorError, KeyError) as error:
            raise ModelUnavailable(f"twin {str(path)!r}: {error}; run `edgewright pretrain --task twin`") from error


@functools.cache
def embedded_twin() -> TwinModel:
    """The one that is shipped."""
    return TwinModel.load(EMBEDDED_TWIN)

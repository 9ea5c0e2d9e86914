"""The fitted part of the twin: two small networks that learned from the simulator how often a plan is in time."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from agent.errors import ModelUnavailable
from agent.twin_features import Features
from agent.utility import Outcome

EMBEDDED_TWIN = Path(__file__).parent / "weights" / "twin" / "model.safetensors"

_NUM_OUTCOMES = 3

Layer = tuple[Float32[NDArray[np.float32], "out in"], Float32[NDArray[np.float32], " out"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Perceptron:
    """Layers of rectified units that end in an `Outcome`; its input is brought to mean 0 and deviation 1 first."""

    mean: Float32[NDArray[np.float32], " in"]
    deviation: Float32[NDArray[np.float32], " in"]
    layers: tuple[Layer, ...]

    def outcome(self, features: Features) -> Outcome:
        """What is expected of each plan, future and slice ([P, K, S], from features [P, K, S, F])."""
        # numpy multiplies the matrices of a stack one by one: the few slices of a cell would each take its overhead,
        # and all rows at once are many enough that its BLAS wakes threads, which costs more than they do.
        stacked = features.reshape(-1, features.shape[1], features.shape[-1]).astype(np.float32)
        signal = (stacked - self.mean) / self.deviation
        for number, (weight, bias) in enumerate(self.layers):
            signal = signal @ weight.T + bias
            if number < len(self.layers) - 1:
                signal = np.maximum(signal, 0.0)
        told = 1.0 / (1.0 + np.exp(-np.clip(signal.astype(np.float64), -30.0, 30.0)))
        told = told.reshape(*features.shape[:-1], _NUM_OUTCOMES)
        return Outcome(in_time=told[..., 0], service=told[..., 1], credit=told[..., 2])

    def tensors(self, name: str) -> dict[str, NDArray[np.float32]]:
        """For a file, under that name."""
        found = {f"{name}.mean": self.mean, f"{name}.deviation": self.deviation}
        for number, (weight, bias) in enumerate(self.layers):
            found |= {f"{name}.{number}.weight": weight, f"{name}.{number}.bias": bias}
        return {key: np.ascontiguousarray(array) for key, array in found.items()}

    @classmethod
    def from_tensors(cls, name: str, tensors: dict[str, NDArray[np.float32]]) -> Self:
        """Read back what `tensors` gave; raises KeyError where a part is absent, ValueError for other outcomes."""
        tensors = {key: array.astype(np.float32, copy=False) for key, array in tensors.items()}
        numbers = range(sum(key.startswith(f"{name}.") and key.endswith(".weight") for key in tensors))
        layers = tuple((tensors[f"{name}.{number}.weight"], tensors[f"{name}.{number}.bias"]) for number in numbers)
        if layers and len(layers[-1][1]) != _NUM_OUTCOMES:
            raise ValueError(f"{name} tells {len(layers[-1][1])} numbers of a slice; expected {_NUM_OUTCOMES}")
        return cls(mean=tensors[f"{name}.mean"], deviation=tensors[f"{name}.deviation"], layers=layers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwinModel:
    """What becomes of packets and of tasks, given `twin_features`."""

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
            model = cls(
                radio=Perceptron.from_tensors("radio", tensors), tasks=Perceptron.from_tensors("tasks", tensors)
            )
            for part in (model.radio, model.tasks):
                part.outcome(np.zeros((1, 1, 1, len(part.mean))))
        except (OSError, SafetensorError, KeyError, IndexError, ValueError) as error:
            raise ModelUnavailable(f"twin {str(path)!r}: {error}; run `edgewright pretrain --task twin`") from error
        return model


@functools.cache
def embedded_twin() -> TwinModel:
    """The one that is shipped."""
    return TwinModel.load(EMBEDDED_TWIN)

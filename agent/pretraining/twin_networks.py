"""The twin's two networks in the making, and what they foresee of whole cells.

Shapes are those of `twin_trials`, with B cells of a batch for N.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from agent.pretraining.twin_trials import Trials
from agent.twin_model import Perceptron, TwinModel
from agent.utility import FLOOR_PENALTY

_HIDDEN = 128
_NUM_OUTCOMES = 3
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """`Trials` as tensors."""

    radio: Tensor
    tasks: Tensor
    settled_packets: Tensor
    settled_tasks: Tensor
    packet_outcomes: Tensor
    task_outcomes: Tensor
    weight: Tensor
    contract: Tensor
    floor: Tensor
    utility: Tensor

    @classmethod
    def of(cls, trials: Trials) -> Self:
        return cls(**{part.name: torch.from_numpy(getattr(trials, part.name)) for part in fields(cls)})

    def __getitem__(self, which: Tensor) -> Cells:
        return Cells(**{part.name: getattr(self, part.name)[which] for part in fields(self)})


class Network(nn.Module):
    """A perceptron in the making; it ends in the three numbers of an `Outcome`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, rows: Float[Tensor, "rows F"]) -> None:
        """`rows` are what its input looks like."""
        super().__init__()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("deviation", rows.std(dim=0).clamp(min=_LEAST_DEVIATION))
        self.layers = nn.Sequential(
            nn.Linear(rows.shape[-1], _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _NUM_OUTCOMES),
        )

    def forward(self, features: Float[Tensor, "*rows F"]) -> Float[Tensor, "*rows 3"]:
        """What is expected of each row."""
        told: Tensor = torch.sigmoid(self.layers((features - self.mean) / self.deviation))
        return told

    def perceptron(self) -> Perceptron:
        """The same without torch."""
        linear = [part for part in self.layers if isinstance(part, nn.Linear)]
        return Perceptron(
            mean=_frozen(self.mean),
            deviation=_frozen(self.deviation),
            layers=tuple((_frozen(layer.weight), _frozen(layer.bias)) for layer in linear),
        )


class Networks(nn.Module):
    """Both networks, and what they make of cells."""

    def __init__(self, trials: Trials) -> None:
        """Made for such features as the trials have."""
        super().__init__()
        self.radio, self.tasks = (Network(_rows_of(trials, with_tasks=with_tasks)) for with_tasks in (False, True))

    def forward(self, cells: Cells) -> tuple[Float[Tensor, "B P"], Float[Tensor, "B P S 3"], Float[Tensor, "B P S 3"]]:
        """Expected worth of each plan, and the expected outcomes of packets and of tasks."""
        packets = _settled(self.radio(cells.radio), cells.settled_packets)
        tasks = _settled(self.tasks(torch.cat((cells.radio, cells.tasks), dim=-1)), cells.settled_tasks)
        return _worth(packets, tasks, cells), packets.mean(dim=2), tasks.mean(dim=2)

    def model(self) -> TwinModel:
        """For the twin."""
        return TwinModel(radio=self.radio.perceptron(), tasks=self.tasks.perceptron())


def _frozen(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().numpy().copy()
    return array


def _settled(told: Float[Tensor, "B P K S 3"], ratio: Float[Tensor, "B K S"]) -> Float[Tensor, "B P K S 3"]:
    everywhere = ratio[:, None, :, :, None]
    return torch.where(everywhere.isnan(), told, everywhere)


def _worth(
    packets: Float[Tensor, "B P K S 3"], tasks: Float[Tensor, "B P K S 3"], cells: Cells
) -> Float[Tensor, "B P"]:
    """`outcome_worth` of each plan, the mean over futures."""
    weight, contract, floor = (part[:, None, None] for part in (cells.weight, cells.contract, cells.floor))

    def worth(outcome: Tensor) -> Tensor:
        return 0.5 * (weight * outcome[..., 1] + contract * outcome[..., 2])

    has_tasks = cells.settled_tasks.isnan()[:, None]
    both = torch.where(has_tasks, 0.5 * (worth(packets) + worth(tasks)), worth(packets))
    shortfall = (floor - packets[..., 0]).clamp(min=0.0) / floor.clamp(min=1e-9)
    whole = both - FLOOR_PENALTY * weight * shortfall * (floor > 0)
    return whole.sum(dim=-1).mean(dim=-1) / cells.weight.sum(dim=-1, keepdim=True)


def _rows_of(trials: Trials, *, with_tasks: bool) -> Float[Tensor, "rows F"]:
    """The features of every slice that something came of."""
    features = np.concatenate((trials.radio, trials.tasks), axis=-1) if with_tasks else trials.radio
    came = trials.task_outcomes if with_tasks else trials.packet_outcomes
    is_known = ~np.isnan(came[:, 0, :, 0])
    return torch.from_numpy(features.transpose(0, 3, 1, 2, 4)[is_known].reshape(-1, features.shape[-1]))

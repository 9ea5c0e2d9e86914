"""Whether a run left the model worse than it found it, told by the same texts before and after."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sfl_finetune.errors import TrainingFailed
from sfl_finetune.whole import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sfl_finetune.corpus import Example, Site
    from sfl_finetune.federation import Federation

REMEDY = "try a lower learning rate"

_NUM_TEXTS = 32
_BATCH_SIZE = 4
_CLEARLY = 1.1
_NOISE = 0.01
"""In nats; what two losses may differ by and still be the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossCourse:
    """The loss on some of the texts learnt from, before and after a run; None where it was not measured."""

    start: float | None
    end: float | None
    guess: float
    """Of a model that takes every token to be as likely."""

    @property
    def has_diverged(self) -> bool:
        """Whether it ended clearly above its beginning."""
        return self.start is not None and self.end is not None and self.end > _CLEARLY * self.start + _NOISE

    @property
    def is_guessing(self) -> bool:
        """Whether it ended no lower than a guess: weights driven far enough out say the same of every text."""
        return self.end is not None and self.end > self.guess - _NOISE

    @property
    def warning(self) -> str:
        """What is wrong with it; empty where nothing is."""
        if self.has_diverged:
            return f"the loss on texts learnt from ended at {self.end:.4g}, above its beginning of {self.start:.4g}"
        if self.is_guessing:
            return f"the loss on texts learnt from ended at {self.end:.4g}, no lower than a guess's {self.guess:.4g}"
        return ""


def sample_of(sites: Sequence[Site]) -> tuple[Example, ...]:
    """A few of the texts learnt from, of each site as many, evenly spread."""
    each = max(1, _NUM_TEXTS // len(sites))
    return tuple(example for site in sites for example in _spread(site.examples, each))


def loss_on(federation: Federation, sample: Sequence[Example], *, otherwise: str) -> float:
    """The global adapter's loss on `sample`; raises TrainingFailed, with `otherwise`, where it is no finite number.

    The rounds' own losses can't stand in: each is of other texts, and the first may be of a model broken at its start.
    """
    federation.publish()
    loss = evaluate(federation.model, sample, federation.settings.task, batch_size=_BATCH_SIZE).loss
    if not math.isfinite(loss):
        raise TrainingFailed(f"the loss on texts learnt from is {loss}; wanted a finite number: {otherwise}")
    return loss


def check_finite(state: Mapping[str, torch.Tensor], round_: int) -> None:
    """Refuse an adapter in which a weight is no finite number."""
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise TrainingFailed(f"round {round_}: the adapter's {name!r} is no longer finite; {REMEDY}")


def _spread(examples: Sequence[Example], number: int) -> Sequence[Example]:
    number = min(number, len(examples))
    return [examples[index * len(examples) // number] for index in range(number)]

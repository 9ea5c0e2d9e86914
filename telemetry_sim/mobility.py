"""How devices move."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from telemetry_sim.compiled import inner
from telemetry_sim.random_bits import uniform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class MobilityKind(IntEnum):
    """A way of moving."""

    STATIC = 0
    WALK = 1
    """A straight line with a new heading every twenty seconds on average."""
    STREET = 2
    """Along the axes, with a right-angled turn every ten seconds on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MobilityModel:
    """How one device moves."""

    kind: MobilityKind = MobilityKind.STATIC
    speed_mps: float = 0.0


_STATIC, _WALK, _STREET = (int(kind) for kind in MobilityKind)


@inner
def next_heading(rng: NDArray[np.uint64], device: int, kind: int, heading_rad: float, elapsed_s: float) -> float:
    """Heading after a stretch of time: turns come at random."""
    if kind == _WALK and uniform(rng, device) < elapsed_s / 20.0:
        return 2.0 * math.pi * uniform(rng, device)
    if kind == _STREET and uniform(rng, device) < elapsed_s / 10.0:
        turn = 0.5 * math.pi if uniform(rng, device) < 0.5 else -0.5 * math.pi
        return heading_rad + turn
    return heading_rad


@inner
def reflect(position_m: float, low_m: float, high_m: float) -> float:
    """A coordinate kept inside its bounds by mirrors at both ends."""
    if position_m < low_m:
        return min(2.0 * low_m - position_m, high_m)
    if position_m > high_m:
        return max(2.0 * high_m - position_m, low_m)
    return position_m

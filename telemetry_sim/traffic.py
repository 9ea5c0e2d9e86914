"""Sources of packets: what each device is sent, drawn in continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from telemetry_sim.compiled import inner
from telemetry_sim.random_bits import exponential, normal, uniform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TrafficKind(IntEnum):
    """How a source's packets are spaced and sized."""

    PERIODIC = 0
    """One packet every 1/rate, jittered by a tenth of it."""
    POISSON = 1
    """Exponential gaps, fixed size."""
    POISSON_EXPONENTIAL = 2
    """Exponential gaps and exponential sizes: with one device, the M/M/1 queue."""
    ON_OFF = 3
    """Poisson at a raised rate while on, silent while off; exponential phases."""
    VIDEO = 4
    """Frames at a fixed rate with lognormal sizes, every twelfth an intra frame; load scales the sizes."""
    EVENT_BURST = 5
    """Poisson events, each a run of packets 10 ms apart."""


PERIODIC, POISSON, POISSON_EXPONENTIAL, ON_OFF, VIDEO, EVENT_BURST = (int(kind) for kind in TrafficKind)

FRAMES_PER_GROUP = 12
INTRA_FRAME_RATIO = 3.0
"""Size of an intra frame over a predicted one."""
VIDEO_SIGMA = 0.25
"""Lognormal spread of frame sizes."""
BURST_PACKETS = 8
BURST_GAP_S = 0.01
_MEAN_FRAME_FACTOR = (FRAMES_PER_GROUP - 1 + INTRA_FRAME_RATIO) / FRAMES_PER_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficModel:
    """The downlink source of one device."""

    kind: TrafficKind
    packets_per_s: float
    """Long-run mean at load factor 1; of EVENT_BURST while no burst runs, so that bursts' own time comes on top."""
    size_bits: float
    """Mean packet; large flows come as batches of this size."""
    on_s: float = 1.0
    """Mean length of an on phase (ON_OFF)."""
    off_s: float = 1.0
    """Mean length of an off phase (ON_OFF)."""

    @property
    def mean_bps(self) -> float:
        """Offered rate at load factor 1."""
        return self.packets_per_s * self.size_bits / self._stretch

    @property
    def _stretch(self) -> float:
        """Length of a cycle of bursts over the time between them."""
        if self.kind is not TrafficKind.EVENT_BURST:
            return 1.0
        return 1.0 + (BURST_PACKETS - 1) * BURST_GAP_S * self.packets_per_s / BURST_PACKETS


@inner
def gap_s(rng: NDArray[np.uint64], device: int, kind: int, packets_per_s: float, factor: float, position: int) -> float:
    """Time to a source's next packet; `position` counts its packets so far, `factor` is the load on it."""
    if packets_per_s <= 0.0 or factor <= 0.0:
        return math.inf
    if kind == PERIODIC:
        return (0.95 + 0.1 * uniform(rng, device)) / (packets_per_s * factor)
    if kind == VIDEO:
        return 1.0 / packets_per_s
    if kind == EVENT_BURST:
        if position % BURST_PACKETS:
            return BURST_GAP_S
        return exponential(rng, device) * BURST_PACKETS / (packets_per_s * factor)
    return exponential(rng, device) / (packets_per_s * factor)


@inner
def packet_bits(
    rng: NDArray[np.uint64], device: int, kind: int, size_bits: float, factor: float, position: int
) -> float:
    """Size of a source's next packet: a whole number, at least 1."""
    if kind == VIDEO:
        mean = size_bits * factor / _MEAN_FRAME_FACTOR
        if position % FRAMES_PER_GROUP == 0:
            mean *= INTRA_FRAME_RATIO
        size_bits = mean * math.exp(VIDEO_SIGMA * normal(rng, device) - 0.5 * VIDEO_SIGMA**2)
    elif kind == POISSON_EXPONENTIAL:
        size_bits *= exponential(rng, device)
    return max(1.0, math.floor(size_bits + 0.5))

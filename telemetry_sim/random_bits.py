"""Random draws inside compiled kernels: one 64-bit counter per stream, so results know nothing of threads.

Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S16, _S32, _S48 = (np.uint64(shift) for shift in (30, 27, 31, 11, 16, 32, 48))
_LOW_16 = np.uint64(0xFFFF)
# Four 16-bit uniforms have variance 4 * (2**32 - 1) / 12.
_SUM_MEAN = 2.0 * 65535.0
_SUM_SCALE = 1.0 / math.sqrt((2.0**32 - 1.0) / 3.0)


@inner
def next_bits(rng: NDArray[np.uint64], stream: int) -> np.uint64:
    """64 fresh bits of a stream."""
    state = rng[stream] + _GOLDEN
    rng[stream] = state
    mixed = (state ^ (state >> _S30)) * _MIX_1
    mixed = (mixed ^ (mixed >> _S27)) * _MIX_2
    return np.uint64(mixed ^ (mixed >> _S31))


@inner
def uniform(rng: NDArray[np.uint64], stream: int) -> float:
    """A draw from (0, 1)."""
    return (float(next_bits(rng, stream) >> _S11) + 0.5) * (1.0 / 9007199254740992.0)


@inner
def exponential(rng: NDArray[np.uint64], stream: int) -> float:
    """A draw with mean 1."""
    return -math.log(uniform(rng, stream))


@inner
def normal(rng: NDArray[np.uint64], stream: int) -> float:
    """A draw with mean 0 and variance 1: Box and Muller's method."""
    radius = math.sqrt(2.0 * exponential(rng, stream))
    return radius * math.cos(2.0 * math.pi * uniform(rng, stream))


@inner
def rough_normal(rng: NDArray[np.uint64], stream: int) -> float:
    """A draw with mean 0 and variance 1 whose tails end at 3.46: the sum of four uniforms, cheap enough for fading."""
    bits = next_bits(rng, stream)
    total = float(bits & _LOW_16) + float((bits >> _S16) & _LOW_16)
    total += float((bits >> _S32) & _LOW_16) + float(bits >> _S48)
    return (total - _SUM_MEAN) * _SUM_SCALE

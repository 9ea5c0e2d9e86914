"""The delay histogram's bins inside compiled kernels."""

from __future__ import annotations

import math

from telemetry_sim.compiled import inner

_BINS_PER_DECADE = 20.0
_FIRST_EDGE_MS = 0.1


@inner
def delay_bin(delay_ms: float, num_bins: int) -> int:
    """Bin of DELAY_BIN_EDGES_MS that a delay falls in; the last is open."""
    if delay_ms < _FIRST_EDGE_MS:
        return 0
    return min(num_bins - 1, 1 + int(_BINS_PER_DECADE * math.log10(delay_ms / _FIRST_EDGE_MS)))

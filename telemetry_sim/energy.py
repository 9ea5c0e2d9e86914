"""Power of cells, edge nodes and devices."""

from __future__ import annotations

from telemetry_sim.compiled import inner

STATIC_W = 130.0
"""A powered cell without load."""
LOAD_SLOPE = 4.7
"""Extra input power per watt radiated."""
SLEEP_W = 75.0
"""A sleeping cell.

Source of the three: Auer et al. 2011, "How much energy is needed to run a wireless network?", table 2 (macro).
"""

EDGE_IDLE_W_PER_GHZ = 1.0
EDGE_BUSY_W_PER_GHZ = 4.0
"""An edge node's cores, per GHz of their clock."""

SWITCHED_CAPACITANCE = 1e-27
"""kappa of the dynamic power kappa f^3 (f in Hz).

Source: Mao et al. 2017, "A survey on mobile edge computing", eq. 5.
"""

DEVICE_RECEIVE_W = 0.9
DEVICE_IDLE_W = 0.02
DEVICE_SLEEP_W = 0.0015
"""Deep sleep of a device with an empty buffer.

Source of the three: 3GPP TR 38.840, table 8.1.1-1, scaled to 0.9 W of reception.
"""
DEVICE_AMPLIFIER_EFFICIENCY = 0.3


@inner
def edge_power_w(clock_ghz: float, utilisation: float) -> float:
    """Input power of an edge node's processors."""
    return clock_ghz * (EDGE_IDLE_W_PER_GHZ + (EDGE_BUSY_W_PER_GHZ - EDGE_IDLE_W_PER_GHZ) * utilisation)


@inner
def computing_energy_j(cycles: float, clock_ghz: float) -> float:
    """Energy of so many cycles at a device's clock: kappa f^2 each."""
    return SWITCHED_CAPACITANCE * (clock_ghz * 1e9) ** 2 * cycles

"""The network: it runs, reports and obeys."""

from telemetry_sim.network.forks import what_if
from telemetry_sim.network.simulation import Network, Totals

__all__ = ["Network", "Totals", "what_if"]

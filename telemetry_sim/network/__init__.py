"""The network: it runs, reports and obeys."""

from telemetry_sim.network.simulation import Network, Telemetry

__all__ = ["Network", "Telemetry"]

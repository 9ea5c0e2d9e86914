"""Compiles the simulator's kernels once, so that the first run does not wait for it: `python -m telemetry_sim.warm_up`."""

from __future__ import annotations

from telemetry_sim.network import Network
from telemetry_sim.scenarios import scenario


def warm_up() -> None:
    """Run a small network for a few seconds; numba keeps what it compiled beside the modules."""
    Network(scenario("smart-city"), seed=0).run(2.0)


if __name__ == "__main__":
    warm_up()

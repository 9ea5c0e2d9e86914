"""Many futures of one network, each under a policy of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.actions import ControlAction
    from telemetry_sim.network.simulation import Network
    from telemetry_sim.records import Telemetry


def what_if(
    network: Network,
    policies: Sequence[Sequence[ControlAction]],
    *,
    duration_s: float,
    seed: int | None = None,
    num_threads: int = 1,
) -> tuple[Telemetry, ...]:
    """What each policy would bring over a stretch from now on; the network itself stays as it is.

    All futures share their chances, so that only the policies differ; with a seed these are not the network's own.
    """
    futures = [network.fork(seed=seed) for _ in policies]
    for version, (future, policy) in enumerate(zip(futures, policies, strict=True), start=1):
        future.apply(policy, policy_version=version)
    if num_threads == 1:
        return tuple(future.run(duration_s) for future in futures)
    with ThreadPoolExecutor(num_threads) as pool:
        return tuple(pool.map(lambda future: future.run(duration_s), futures))

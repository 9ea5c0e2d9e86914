"""One device of the simulated network as a single-server queue, beside queueing theory.

The link is so good that its rate never changes: what is left is arrivals, a buffer and a server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.network import Network
from telemetry_sim.records import DELAY_BIN_EDGES_MS
from telemetry_sim.scenarios import Population, Scenario
from telemetry_sim.topology import CellSite, Environment, SliceId, SliceProfile, Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVICE_MS = 0.2
"""Mean time that a packet needs on all PRBs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRun:
    """What one run of the queue showed."""

    mean_ms: float
    p99_ms: float
    mean_waiting: float
    """Time average of the number of packets in the system, sampled at the ends of periods."""
    arrivals_per_s: float
    served_per_s: float
    num_packets: int


def link_rate_bps() -> float:
    """Rate of the validation cell with every PRB given to its device."""
    network = Network(_scenario(TrafficKind.POISSON, 1.0, 1000.0), seed=1)
    frames = network.run(20.0).frames
    rates = [frame.devices.served_bits.sum() / max(frame.devices.prb.sum() * frame.period_s, 1e-12) for frame in frames]
    return float(np.median([rate for rate in rates if rate > 0])) * network.topology.cells[0].num_prb


def run_queue(kind: TrafficKind, load: float, *, duration_s: float, seed: int, rate_bps: float) -> QueueRun:
    """Run the queue at a load (0-1 and beyond)."""
    size_bits = SERVICE_MS / 1000.0 * rate_bps
    network = Network(_scenario(kind, load * 1000.0 / SERVICE_MS, size_bits), seed=seed)
    network.run(100.0)
    before = network.totals()
    counts = np.zeros(len(DELAY_BIN_EDGES_MS) - 1, np.int64)
    total_ms = 0.0
    waiting = []
    for _ in range(round(duration_s / 10.0)):
        (frame,) = network.run(10.0).frames
        assert frame.slices is not None
        period = frame.slices.delay_counts[0, 0]
        counts += period
        total_ms += float(np.nan_to_num(frame.devices.delay_ms[0])) * int(period.sum())
        waiting.append(network.totals().waiting_packets)
    after = network.totals()
    num = int(counts.sum())
    return QueueRun(
        mean_ms=total_ms / num,
        p99_ms=_quantile_ms(counts, 0.99),
        mean_waiting=float(np.mean(waiting)),
        arrivals_per_s=(after.offered_packets - before.offered_packets) / duration_s,
        served_per_s=(after.served_packets - before.served_packets) / duration_s,
        num_packets=num,
    )


def _scenario(kind: TrafficKind, packets_per_s: float, size_bits: float) -> Scenario:
    cell = CellSite(
        id=0, name="queue", x_m=0.0, y_m=0.0, environment=Environment.INF_SH, tx_power_dbm=60.0, backhaul_mbps=1e9
    )
    profile = SliceProfile(
        id=SliceId(sst=1),
        name="queue",
        five_qi=9,
        delay_budget_ms=1e9,
        in_time_target=0.5,
        packet_size_bits=max(size_bits, 1.0),
    )
    return Scenario(
        name="queue",
        summary="One device at one cell",
        topology=Topology(cells=(cell,), slices=(profile,)),
        populations=(
            Population(part=1.0, traffic=TrafficModel(kind=kind, packets_per_s=packets_per_s, size_bits=size_bits)),
        ),
        num_devices=1,
        cell_radius_m=5.0,
        queue_places=2048,
        period_s=10.0,
    )


def _quantile_ms(counts: NDArray[np.int64], quantile: float) -> float:
    """Quantile of a delay histogram; the tail inside a bin is taken as exponential."""
    survival = 1.0 - np.concatenate(([0.0], np.cumsum(counts))) / counts.sum()
    wanted = 1.0 - quantile
    k = int(np.argmax(survival <= wanted))
    high, low = survival[k - 1], max(survival[k], 1e-12)
    part = np.log(high / wanted) / np.log(high / low)
    return float(DELAY_BIN_EDGES_MS[k - 1] + part * (DELAY_BIN_EDGES_MS[k] - DELAY_BIN_EDGES_MS[k - 1]))


def mm1_ms(load: float) -> tuple[float, float]:
    """Mean and 99th percentile of the sojourn in M/M/1. Source: Kleinrock, Queueing Systems I, 1975, 3.2 and 5.2."""
    mean = SERVICE_MS / (1.0 - load)
    return mean, mean * float(np.log(100.0))


def md1_ms(load: float) -> tuple[float, float]:
    """Mean and 99th percentile of the sojourn in M/D/1.

    Source: Pollaczek's and Khinchin's mean; the distribution is Erlang's (Kleinrock, Queueing Systems I, 1975, 5.7).
    """
    import mpmath

    mean = SERVICE_MS * (1.0 + load / (2.0 * (1.0 - load)))

    def beyond(waiting: float) -> float:
        """P(waiting time, in service times, exceeds `waiting`) less one per cent."""
        with mpmath.workdps(80):
            total = mpmath.mpf(0)
            for k in range(int(waiting) + 1):
                x = mpmath.mpf(load) * (mpmath.mpf(waiting) - k)
                total += (-x) ** k / mpmath.factorial(k) * mpmath.exp(x)
            return float(1 - (1 - mpmath.mpf(load)) * total) - 0.01

    low, high = 0.0, 10.0 / (1.0 - load)
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > 0 else (low, middle)
    return mean, SERVICE_MS * (1.0 + high)


def queue_figures(*, duration_s: float, seed: int) -> list[dict[str, Any]]:
    """Means, tails, Little's law and overload, each beside theory."""
    rate_bps = link_rate_bps()
    figures: list[dict[str, Any]] = []
    for name, kind, theory in (
        ("M/M/1", TrafficKind.POISSON_EXPONENTIAL, mm1_ms),
        ("M/D/1", TrafficKind.POISSON, md1_ms),
    ):
        for load in (0.5, 0.8, 0.9, 0.95):
            # Queues remember for 1 / (1 - load)^2: the heavier, the longer the run.
            length_s = duration_s * min(8.0, max(1.0, (0.2 / (1.0 - load)) ** 2))
            run = run_queue(kind, load, duration_s=round(length_s, -1), seed=seed, rate_bps=rate_bps)
            mean_ms, p99_ms = theory(load)
            for what, measured, expected in (("mean", run.mean_ms, mean_ms), ("p99", run.p99_ms, p99_ms)):
                error = abs(measured / expected - 1.0)
                figures.append(_figure(f"{name} {what} sojourn at load {load}: relative error", error, 0.02, run))
    overload = run_queue(TrafficKind.POISSON_EXPONENTIAL, 1.5, duration_s=60.0, seed=seed, rate_bps=rate_bps)
    saturation = abs(overload.served_per_s * SERVICE_MS / 1000.0 - 1.0)
    figures.append(
        _figure("M/M/1 at load 1.5: throughput's distance from the server's rate", saturation, 0.02, overload)
    )
    return figures


def _figure(name: str, measured: float, target: float, run: QueueRun) -> dict[str, Any]:
    return {
        "figure": name,
        "measured": measured,
        "target": f"<= {target}",
        "holds": measured <= target,
        "packets": run.num_packets,
    }

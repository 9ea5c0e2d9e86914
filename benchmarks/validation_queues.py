"""One device of the simulated network as a queue with one server or several, beside queueing theory.

Packets: the link is so good that its rate never changes, and what is left is arrivals, a buffer and a server (M/M/1
and M/D/1). Tasks: the edge node's cores are the servers (M/M/c).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.network import Network
from telemetry_sim.network.arrivals import RETURN_S
from telemetry_sim.records import DELAY_BIN_EDGES_MS
from telemetry_sim.scenarios import Population, Scenario
from telemetry_sim.topology import CellSite, Environment, SliceId, SliceProfile, Topology
from telemetry_sim.traffic import TrafficKind, TrafficModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

SERVICE_MS = 0.2
"""Mean time that a packet needs on all PRBs."""
TASK_MS = 1.0
"""Mean time that a task needs on one core."""
LOADS = (0.5, 0.8, 0.9, 0.95)
CORES = (2, 4)
OVERLOAD = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRun:
    """What one run of the queue showed."""

    mean_ms: float
    p99_ms: float
    mean_waiting: float
    """Time average of the number in the system: the exact area under it, by the time."""
    served_per_s: float
    num_served: int

    @property
    def littles_gap(self) -> float:
        """Relative distance of the mean number from rate times mean sojourn. Source: Little 1961."""
        return abs(self.served_per_s * self.mean_ms / 1000.0 / self.mean_waiting - 1.0)


def link_rate_bps() -> float:
    """Rate of the validation cell with every PRB given to its device."""
    network = Network(_scenario(TrafficKind.POISSON, 1.0, 1000.0), seed=1)
    frames = network.run(20.0).frames
    rates = [frame.devices.served_bits.sum() / max(frame.devices.prb.sum() * frame.period_s, 1e-12) for frame in frames]
    return float(np.median([rate for rate in rates if rate > 0])) * network.topology.cells[0].num_prb


def run_queue(kind: TrafficKind, load: float, *, duration_s: float, seed: int, rate_bps: float) -> QueueRun:
    """Run the packet queue at a load (0-1 and beyond)."""
    size_bits = SERVICE_MS / 1000.0 * rate_bps
    network = Network(_scenario(kind, load * 1000.0 / SERVICE_MS, size_bits), seed=seed)
    network.run(100.0)
    before = network.totals()
    counts = np.zeros(len(DELAY_BIN_EDGES_MS) - 1, np.int64)
    total_ms = 0.0
    for _ in range(round(duration_s / 10.0)):
        (frame,) = network.run(10.0).frames
        assert frame.slices is not None
        period = frame.slices.delay_counts[0, 0]
        counts += period
        total_ms += float(np.nan_to_num(frame.devices.delay_ms[0])) * int(period.sum())
    num = int(counts.sum())
    return QueueRun(
        mean_ms=total_ms / num,
        p99_ms=_quantile_ms(counts, 0.99),
        mean_waiting=(network.totals().packet_s - before.packet_s) / duration_s,
        served_per_s=num / duration_s,
        num_served=num,
    )


def run_cores(num_cores: int, load: float, *, duration_s: float, seed: int) -> QueueRun:
    """Run the edge node's task queue at a load (0-1) of its cores; the constant way back of results is taken off."""
    network = Network(_task_scenario(num_cores, load * num_cores * 1000.0 / TASK_MS), seed=seed)
    network.run(100.0)
    before = network.totals()
    counts = np.zeros(len(DELAY_BIN_EDGES_MS) - 1, np.int64)
    total_ms = 0.0
    for _ in range(round(duration_s / 10.0)):
        (frame,) = network.run(10.0).frames
        assert frame.slices is not None
        period = network.task_delay_counts()[0, 0]
        counts += period
        total_ms += float(frame.slices.task_delay_ms[0, 0]) * int(period.sum())
    num = int(counts.sum())
    return QueueRun(
        mean_ms=total_ms / num - RETURN_S * 1000.0,
        p99_ms=_quantile_ms(counts, 0.99) - RETURN_S * 1000.0,
        mean_waiting=(network.totals().task_s - before.task_s) / duration_s,
        served_per_s=num / duration_s,
        num_served=num,
    )


def run_overload(*, duration_s: float, seed: int, rate_bps: float) -> tuple[float, float]:
    """At a load of 1.5 without bound on the buffer: packets served a second, and how fast the sojourn grows (s/s)."""
    size_bits = SERVICE_MS / 1000.0 * rate_bps
    made = _scenario(TrafficKind.POISSON_EXPONENTIAL, OVERLOAD * 1000.0 / SERVICE_MS, size_bits, queue_places=2**20)
    frames = Network(made, seed=seed).run(duration_s).frames
    ends_s = np.array([frame.time_s for frame in frames])
    means_s = np.array([float(frame.devices.delay_ms[0]) / 1000.0 for frame in frames])
    served = sum(int(frame.slices.delay_counts.sum()) for frame in frames if frame.slices is not None)
    return served / duration_s, float(np.polyfit(ends_s, means_s, 1)[0])


def _task_scenario(num_cores: int, tasks_per_s: float) -> Scenario:
    """One device whose tasks arrive at once at an edge node with cores of 1 GHz."""
    idle = _scenario(TrafficKind.POISSON, 1e-6, 1000.0)
    cell = idle.topology.cells[0].model_copy(update={"edge_cpu_ghz": float(num_cores), "edge_cores": num_cores})
    profile = idle.topology.slices[0].model_copy(update={"task_megacycles": TASK_MS, "task_deadline_ms": 1e9})
    people = dataclasses.replace(idle.populations[0], tasks_per_s=tasks_per_s, has_exponential_tasks=True)
    return dataclasses.replace(idle, topology=Topology(cells=(cell,), slices=(profile,)), populations=(people,))


def _scenario(kind: TrafficKind, packets_per_s: float, size_bits: float, *, queue_places: int = 2048) -> Scenario:
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
        queue_places=queue_places,
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


def erlang_c(num_servers: int, erlangs: float) -> float:
    """Chance that an arrival finds every server of M/M/c busy.

    Source: Kleinrock, Queueing Systems I, 1975, eq. 3.40; the same in Wikipedia's "M/M/c queue".
    """
    last = erlangs**num_servers / math.factorial(num_servers) * num_servers / (num_servers - erlangs)
    return last / (sum(erlangs**k / math.factorial(k) for k in range(num_servers)) + last)


def erlang_c_by_recursion(num_servers: int, erlangs: float) -> float:
    """The same another way, from Erlang's loss formula and its recursion.

    Source: Cooper, Introduction to Queueing Theory, 1981; so says `erlangc` of GNU Octave's queueing package.
    """
    loss = 1.0
    for k in range(1, num_servers + 1):
        loss = erlangs * loss / (k + erlangs * loss)
    return num_servers * loss / (num_servers - erlangs * (1.0 - loss))


def mmc_ms(num_servers: int, load: float) -> tuple[float, float]:
    """Mean and 99th percentile of the sojourn in M/M/c: a service, and with Erlang C's chance an exponential wait.

    Source of the wait's distribution: Gross and Harris, Fundamentals of Queueing Theory, 1985, 2.3.
    """
    chance = erlang_c(num_servers, load * num_servers)
    drain = num_servers * (1.0 - load)  # of the queue while all servers are busy, per service time

    def beyond(sojourn: float) -> float:
        if abs(drain - 1.0) < 1e-9:
            both = (1.0 + sojourn) * math.exp(-sojourn)
        else:
            both = (drain * math.exp(-sojourn) - math.exp(-drain * sojourn)) / (drain - 1.0)
        return (1.0 - chance) * math.exp(-sojourn) + chance * both

    low, high = 0.0, 100.0 / min(1.0, drain)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if beyond(middle) > 0.01 else (low, middle)
    return TASK_MS * (1.0 + chance / drain), TASK_MS * high


def queue_figures(*, duration_s: float, seed: int) -> list[dict[str, Any]]:
    """Means, tails, Little's law and overload, each beside theory."""
    rate_bps = link_rate_bps()
    figures: list[dict[str, Any]] = []
    for name, kind, theory in (
        ("M/M/1", TrafficKind.POISSON_EXPONENTIAL, mm1_ms),
        ("M/D/1", TrafficKind.POISSON, md1_ms),
    ):
        for load in LOADS:
            run = run_queue(kind, load, duration_s=_length_s(duration_s, load), seed=seed, rate_bps=rate_bps)
            figures += _figures_of(f"{name} at load {load}", run, theory(load))
    for num_cores in CORES:
        for load in LOADS:
            run = run_cores(num_cores, load, duration_s=_length_s(duration_s, load), seed=seed)
            figures += _figures_of(
                f"M/M/{num_cores} on an edge node's cores at load {load}", run, mmc_ms(num_cores, load)
            )
    return figures + _overload_figures(seed, rate_bps)


def _length_s(duration_s: float, load: float) -> float:
    """Queues remember for 1 / (1 - load)^2: the heavier, the longer the run."""
    return round(duration_s * min(8.0, max(1.0, (0.2 / (1.0 - load)) ** 2)), -1)


def _figures_of(name: str, run: QueueRun, theory_ms: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        *(
            _figure(f"{name}, {what} sojourn: relative error", abs(measured / expected - 1.0), 0.02, run.num_served)
            for what, measured, expected in zip(("mean", "p99"), (run.mean_ms, run.p99_ms), theory_ms, strict=True)
        ),
        _figure(f"{name}, Little's law: relative gap", run.littles_gap, 0.005, run.num_served),
    ]


def _overload_figures(seed: int, rate_bps: float) -> list[dict[str, Any]]:
    """A fluid's law: of every second's arrivals what can't be served waits, so sojourns grow by 1 - 1 / load."""
    duration_s = 100.0
    served_per_s, growth = run_overload(duration_s=duration_s, seed=seed, rate_bps=rate_bps)
    saturation = abs(served_per_s * SERVICE_MS / 1000.0 - 1.0)
    gap = abs(growth / (1.0 - 1.0 / OVERLOAD) - 1.0)
    num = round(served_per_s * duration_s)
    return [
        _figure(f"M/M/1 at load {OVERLOAD}: throughput's distance from the server's rate", saturation, 0.02, num),
        _figure(f"M/M/1 at load {OVERLOAD}: growth of the sojourn, distance from 1 - 1/load a second", gap, 0.02, num),
    ]


def _figure(name: str, measured: float, target: float, num_served: int) -> dict[str, Any]:
    return {
        "figure": name,
        "measured": measured,
        "target": f"<= {target}",
        "holds": bool(measured <= target),
        "served": num_served,
    }

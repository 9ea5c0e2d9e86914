"""The parts that scenarios are put together from: who is there and what they ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry_sim.mobility import MobilityModel

if TYPE_CHECKING:
    from telemetry_sim.traffic import TrafficModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorStream:
    """An application reading that every device of a slice sends once a report."""

    name: str
    mean: float
    spread: float
    """Standard deviation between devices."""
    noise: float
    """Standard deviation between readings."""
    swing: float = 0.0
    """Half the height of the daily wave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraUplink:
    """How a LoRaWAN device sends its readings to the gateway at its home cell."""

    interval_s: float
    """Wanted spacing; the duty cycle may stretch it."""
    payload_bytes: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The devices of one slice."""

    part: float
    """Part (0-1) of the scenario's devices."""
    traffic: TrafficModel
    mobility: MobilityModel = field(default_factory=MobilityModel)
    tasks_per_s: float = 0.0
    """Compute tasks that each device issues; their work is in the slice's profile."""
    task_bits: float = 0.0
    """Input of one task, sent uplink when offloaded."""
    has_exponential_tasks: bool = False
    """Whether the tasks' work is exponential about its mean, or even from half to one and a half of it."""
    cpu_ghz: float = 1.0
    battery_j: float | None = None
    """Charge at the start; None for mains power."""
    transmit_dbm: float = 23.0
    discard_factor: float = 1.0
    """Age, in delay budgets, at which a packet is dropped."""
    sensor: SensorStream | None = None
    lora: LoraUplink | None = None
    """Set where the readings go by LoRaWAN instead of the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """Offered load over time, as shares of each cell's PRBs; the episodes are drawn from the run's seed.

    In each episode and cell one slice surges while the others are calm, and the sum lies between `low` and `high`.
    """

    shares: tuple[float, ...]
    """Each slice's usual part of the load; the sum is 1."""
    low: float = 0.7
    high: float = 1.3
    surge: tuple[float, float] = (1.8, 3.0)
    """Factor on the surging slice's part before scaling to the sum."""
    odds: tuple[float, ...] = ()
    """How likely each slice is to surge; empty for evenly."""
    calm: tuple[float, float] = (0.4, 1.0)
    """Factor on the other slices' parts."""
    episode_s: tuple[float, float] = (40.0, 80.0)
    ramp_s: float = 30.0
    """Length of the straight line from one episode's load to the next."""
    tasks: tuple[float, float] = (0.5, 1.6)
    """Factor on a slice's task rate, drawn per episode."""

"""EdgeDigest: what one edge node says upward about one interval; typed numbers and fixed words only.

Nothing in it is free text from a device, and nothing in it is a decision: shares are the agent's business.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from telemetry_sim.records import DELAY_BIN_EDGES_MS, Severity
from telemetry_sim.topology import SliceId

NonNegative = Annotated[float, Ge(0)]
Ratio = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(0)]
EvidenceId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:.-]{0,47}$")]


def _is_absent(value: object) -> bool:
    return value is None


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SliceDigest(_Contract):
    """One slice in one cell over the interval."""

    slice: SliceId
    num_devices: Count
    demand_kbps: NonNegative
    """Offered to the buffers."""
    served_kbps: NonNegative
    in_time_ratio: Ratio
    """Bits delivered within the packet delay budget over bits offered; 1 without demand."""
    backlog_kbit: NonNegative
    """Waiting at the interval's end."""
    delay_p95_ms: NonNegative
    """Of what was served. Where nothing was, it stands for the wait: the interval's length, or 0 if nothing waits."""
    delay_budget_ms: Annotated[float, Gt(0)]
    prb_used: NonNegative
    """Mean number of PRBs."""
    kbps_per_prb: NonNegative
    """Spectral efficiency at the slice's devices: rate of one PRB."""
    packet_size_bits: Annotated[float, Gt(0)]
    forecast_demand_kbps: NonNegative
    """Expected over the next interval."""
    forecast_deviation_kbps: NonNegative = 0.0
    """One standard deviation of the forecast's recent error."""
    num_refused: Count = 0
    tasks_per_s: NonNegative = 0.0
    """Compute tasks offered."""
    task_megacycles: NonNegative = 0.0
    """Mean CPU work of a task."""
    task_deadline_ms: Annotated[float, Gt(0)] = 1000.0
    tasks_in_time_ratio: Ratio = 1.0
    forecast_tasks_per_s: NonNegative = 0.0
    sla_risk: Annotated[Ratio | None, Field(exclude_if=_is_absent)] = None
    """Chance that the next interval misses the in-time target; left out where the edge was not asked for it."""

    @property
    def is_delay_measured(self) -> bool:
        """Whether `delay_p95_ms` is of packets that were served.

        In the histogram's first bin, shorter than any slot of NR, lies only what stands for a delay that nobody told.
        """
        return self.served_kbps > 0 and self.delay_p95_ms > float(DELAY_BIN_EDGES_MS[1])


class NeighbourDigest(_Contract):
    """What the edge node knows of a neighbouring cell (over Xn)."""

    cell: Annotated[int, Ge(0), Le(0xFFFF)]
    prb_utilisation: Ratio
    is_up: bool = True


class AnomalyKind(StrEnum):
    """What stands out."""

    DEMAND = "demand"
    RADIO = "radio"
    DELAY = "delay"
    COMPUTE = "compute"
    BACKHAUL = "backhaul"
    SENSOR = "sensor"
    LOG = "log"


class Anomaly(_Contract):
    """Something unusual, with a pointer to its evidence."""

    kind: AnomalyKind
    severity: Severity
    score: Ratio
    """The same scale on every stream: 0.5 is the alarm threshold."""
    slice: SliceId | None = None
    """The slice concerned; None for the whole cell."""
    evidence: EvidenceId
    """Stream or template, and the interval's raw rows."""


class LogEvent(_Contract):
    """A named counter over the interval's log lines."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    """From the edge's own fixed list."""
    count: Annotated[int, Ge(1)]


class DataQuality(_Contract):
    """received = accepted + quarantined, always."""

    rows_received: Count
    rows_accepted: Count
    rows_quarantined: Count
    rows_stale: Count = 0
    """Accepted, but older than the interval."""


class EdgeDigest(_Contract):
    """One per edge node (cell) and interval."""

    cell: Annotated[int, Ge(0), Le(0xFFFF)]
    start_s: NonNegative
    end_s: Annotated[float, Gt(0)]
    num_prb: Annotated[int, Ge(1)]
    prb_used: NonNegative
    interference_dbm: float | None = None
    tx_power_step_db: int = 0
    is_asleep: bool = False
    is_up: bool = True
    edge_cpu_ghz: NonNegative
    edge_utilisation: Ratio
    backhaul_mbps: NonNegative
    backhaul_utilisation: Ratio = 0.0
    backhaul_delay_ms: NonNegative = 0.0
    energy_w: NonNegative = 0.0
    num_handovers: Count = 0
    num_handover_failures: Count = 0
    policy_version: Annotated[int, Ge(0)] = 0
    slices: Annotated[tuple[SliceDigest, ...], MaxLen(8)]
    neighbours: Annotated[tuple[NeighbourDigest, ...], MaxLen(6)] = ()
    anomalies: Annotated[tuple[Anomaly, ...], MaxLen(8)] = ()
    """Worst first."""
    events: Annotated[tuple[LogEvent, ...], MaxLen(12)] = ()
    quality: DataQuality
    left_out: Annotated[tuple[str, ...], MaxLen(8)] = ()
    """What the byte budget dropped, in fixed words."""

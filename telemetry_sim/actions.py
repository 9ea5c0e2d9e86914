"""What the network obeys: one command per (cell, slice) and one per cell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field, model_validator

from telemetry_sim.topology import SliceId

Percent = Annotated[int, Ge(0), Le(100)]


class Scheduler(StrEnum):
    """Who is served first inside a slice."""

    ROUND_ROBIN = "rr"
    PROPORTIONAL_FAIR = "pf"
    EARLIEST_DEADLINE_FIRST = "edf"


class _Action(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cell: Annotated[int, Ge(0), Le(0xFFFF)]


class SliceAction(_Action):
    """How one slice is treated in one cell. Shares follow RRMPolicyRatio of 3GPP TS 28.541, 4.3.36."""

    kind: Literal["slice"] = "slice"
    slice: SliceId
    dedicated_pct: Percent = 0
    """PRBs that no other slice may use, even idle."""
    min_pct: Percent
    """PRBs guaranteed when needed; others may borrow them while idle."""
    max_pct: Percent = 100
    """PRBs that are never exceeded."""
    scheduler: Scheduler = Scheduler.PROPORTIONAL_FAIR
    ue_rate_cap_mbps: Annotated[float, Gt(0)] | None = None
    """Ceiling of each device's downlink rate."""
    admission_cap: Annotated[int, Ge(0)] | None = None
    """Devices of the slice that are served at once; the rest are refused, newest first."""
    compute_pct: Percent = 0
    """Guaranteed part of the edge node's CPU; idle CPU is lent to the others."""
    offload_device_pct: Percent = 0
    """Tasks computed on the device."""
    offload_edge_pct: Percent = 100
    """Tasks computed at the edge node."""
    offload_cloud_pct: Percent = 0
    """Tasks computed in the cloud, across the backhaul."""
    report_interval_s: Annotated[float, Ge(1), Le(60)] = 1.0
    """Spacing of the slice's device reports; each costs signalling."""

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.dedicated_pct <= self.min_pct <= self.max_pct:
            raise ValueError(
                "dedicated_pct <= min_pct <= max_pct must hold, "
                f"got {self.dedicated_pct}, {self.min_pct}, {self.max_pct}"
            )
        total = self.offload_device_pct + self.offload_edge_pct + self.offload_cloud_pct
        if total != 100:
            raise ValueError(f"offload_device_pct + offload_edge_pct + offload_cloud_pct must be 100, got {total}")
        return self


class CellAction(_Action):
    """How one cell's radio is set."""

    kind: Literal["cell"] = "cell"
    tx_power_step_db: Annotated[int, Ge(-9), Le(3)] = 0
    """Relative to the site's planned power."""
    sleep: bool = False
    """A sleeping cell serves nobody and draws its sleep power; its devices move to neighbours."""
    handover_offset_db: Annotated[int, Ge(-6), Le(6)] = 0
    """Cell individual offset: positive keeps and attracts devices. Source: 3GPP TS 38.331, 5.5.4.4 (event A3)."""


ControlAction = Annotated[SliceAction | CellAction, Field(discriminator="kind")]


class Acknowledgement(BaseModel):
    """What a target says it has applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: int
    policy_version: int
    applied: bool
    reason: str = ""
    """Why not, when not applied."""

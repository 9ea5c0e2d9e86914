"""What an operator knows about the network before any telemetry arrives: cells, slices, neighbours."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from telemetry_sim.errors import ScenarioInvalid

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}$")]


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SliceId(_Contract):
    """An S-NSSAI. Source: 3GPP TS 23.003, 28.4.2."""

    sst: Annotated[int, Ge(1), Le(255)]
    """Slice/service type: 1 eMBB, 2 URLLC, 3 MIoT, 4 V2X."""
    sd: Annotated[int, Ge(0), Le(0xFFFFFF)] = 0xFFFFFF
    """Slice differentiator; 0xFFFFFF means none."""

    def __str__(self) -> str:
        return f"{self.sst}-{self.sd:06x}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `sst` or `sst-sd` (sd as six hex digits); raises ScenarioInvalid."""
        sst, _, sd = text.partition("-")
        try:
            return cls(sst=int(sst), sd=int(sd, 16) if sd else 0xFFFFFF)
        except ValueError as error:
            raise ScenarioInvalid(f"slice id {text!r}: expected 'sst' or 'sst-sd' such as '2-000001'") from error


class Environment(StrEnum):
    """Propagation environment. Source: 3GPP TR 38.901, table 7.4.1-1."""

    UMI = "umi"
    UMA = "uma"
    RMA = "rma"
    INF_SL = "inf_sl"
    INF_DL = "inf_dl"
    INF_SH = "inf_sh"
    INF_DH = "inf_dh"


class SliceProfile(_Contract):
    """What a slice promises."""

    id: SliceId
    name: Name
    five_qi: Annotated[int, Ge(1), Le(255)]
    """5QI of its data flows. Source: 3GPP TS 23.501, table 5.7.4-1."""
    delay_budget_ms: Annotated[float, Gt(0)]
    """Packet delay budget of the radio leg."""
    in_time_target: Annotated[float, Gt(0), Le(1)]
    """Share of the offered bits that must arrive within the budget for the SLA to hold."""
    weight: Annotated[float, Gt(0), Le(100)] = 1.0
    """The operator's default priority."""
    packet_size_bits: Annotated[float, Gt(0)]
    """Typical packet."""
    task_megacycles: Annotated[float, Ge(0)] = 0.0
    """CPU work of one task at the edge; 0 where the slice computes nothing."""
    task_deadline_ms: Annotated[float, Gt(0)] = 1000.0
    """End-to-end budget of one task, its uplink included."""
    aliases: Annotated[tuple[Name, ...], MaxLen(8)] = ()
    """What else operators call the slice or its devices; nothing but the chat reads them."""


class CellSite(_Contract):
    """A cell and the edge node beside it."""

    id: Annotated[int, Ge(0), Le(0xFFFF)]
    name: Name
    x_m: float
    y_m: float
    environment: Environment = Environment.UMI
    carrier_ghz: Annotated[float, Ge(0.5), Le(100)] = 3.5
    bandwidth_mhz: Annotated[float, Gt(0), Le(400)] = 20.0
    num_prb: Annotated[int, Ge(1), Le(275)] = 51
    """Source: 3GPP TS 38.101-1, table 5.3.2-1 (51 PRBs at 20 MHz and 30 kHz)."""
    prb_khz: Annotated[float, Gt(0)] = 360.0
    """Width of one PRB: 12 subcarriers."""
    tx_power_dbm: Annotated[float, Ge(0), Le(60)] = 38.0
    edge_cpu_ghz: Annotated[float, Gt(0)] = 20.0
    """Total clock of the edge node's cores."""
    edge_cores: Annotated[int, Ge(1), Le(128)] = 1
    """Cores that share the clock evenly; a task runs on one of them at a time."""
    backhaul_mbps: Annotated[float, Gt(0)] = 1000.0
    backhaul_ms: Annotated[float, Ge(0)] = 2.0
    """One-way delay to the core and the cloud."""
    neighbours: Annotated[tuple[int, ...], MaxLen(6)] = ()
    """Cell ids, nearest first."""


class BackhaulLink(_Contract):
    """A link that several cells may share; it carries both directions at once."""

    ends: tuple[Name, Name]
    """Names of cells, of routers in between, or CORE."""
    capacity_mbps: Annotated[float, Gt(0)]
    delay_ms: Annotated[float, Ge(0)] = 0.0
    """One way."""


CORE = "core"
"""The end of every backhaul route: core network and cloud."""


class Topology(_Contract):
    """The static description shared by the network, the edge and the agent."""

    cells: Annotated[tuple[CellSite, ...], MaxLen(10_000)]
    slices: Annotated[tuple[SliceProfile, ...], MaxLen(8)]
    backhaul: Annotated[tuple[BackhaulLink, ...], MaxLen(20_000)] = ()
    """Shared links beyond each cell's own; empty where every cell has the core to itself."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.cells or not self.slices:
            counts = f"{len(self.cells)} cells and {len(self.slices)} slices"
            raise ValueError(f"topology has {counts}; at least one of each is needed")
        cell_ids = [cell.id for cell in self.cells]
        slice_ids = [profile.id for profile in self.slices]
        for what, ids in (("cells", cell_ids), ("slices", slice_ids)):
            if len(set(ids)) != len(ids):
                raise ValueError(f"{what}: ids must be unique, got {[str(i) for i in ids]}")
        for cell in self.cells:
            unknown = set(cell.neighbours) - set(cell_ids)
            if unknown or cell.id in cell.neighbours:
                raise ValueError(f"cells[{cell.id}].neighbours: {sorted(cell.neighbours)} must name other cells")
        return self

    def cell_index(self, cell_id: int) -> int:
        """Position of a cell; raises ScenarioInvalid for an unknown id."""
        for index, cell in enumerate(self.cells):
            if cell.id == cell_id:
                return index
        raise ScenarioInvalid(f"cell {cell_id!r} is unknown; cells are {[cell.id for cell in self.cells][:20]}")

    def slice_index(self, slice_id: SliceId) -> int:
        """Position of a slice; raises ScenarioInvalid for an unknown id."""
        for index, profile in enumerate(self.slices):
            if profile.id == slice_id:
                return index
        raise ScenarioInvalid(f"slice {slice_id} is unknown; slices are {[str(p.id) for p in self.slices]}")

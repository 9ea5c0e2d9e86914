"""Slices and the cell that stand behind a recording, guessed from the traffic classes it names.

5QIs and packet delay budgets: 3GPP TS 23.501, table 5.7.4-1. Slice types: table 5.15.2.2-1.
"""

from __future__ import annotations

from telemetry_sim.topology import CellSite, Environment, SliceId, SliceProfile

EMBB, MMTC, URLLC = "embb", "mmtc", "urllc"

TRAFFIC_CLASSES = (EMBB, MMTC, URLLC)

_PROFILES = {
    EMBB: SliceProfile(
        id=SliceId(sst=1),
        name="embb",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.95,
        packet_size_bits=11_200.0,
    ),
    MMTC: SliceProfile(
        id=SliceId(sst=3),
        name="mmtc",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.95,
        packet_size_bits=1_000.0,
    ),
    URLLC: SliceProfile(
        id=SliceId(sst=2),
        name="urllc",
        five_qi=82,
        delay_budget_ms=10.0,
        in_time_target=0.99,
        weight=2.0,
        packet_size_bits=1_000.0,
    ),
}


def slice_of(traffic_class: str) -> SliceProfile:
    """The slice that carries a traffic class."""
    return _PROFILES[traffic_class]


def traffic_class_of(name: str) -> str | None:
    """The class that a trace's name starts with, whatever its case; None for an unknown one."""
    lowered = name.lower()
    # The recordings write urll, urllc and URLLC alike.
    prefixes = {"embb": EMBB, "mmtc": MMTC, "urll": URLLC}
    return next((found for prefix, found in prefixes.items() if lowered.startswith(prefix)), None)


def lte_cell(name: str) -> CellSite:
    """The 10 MHz LTE cell of the Colosseum recordings: 50 PRBs of 180 kHz, emulated at 1 GHz."""
    return CellSite(
        id=1,
        name=name,
        x_m=0.0,
        y_m=0.0,
        environment=Environment.UMI,
        carrier_ghz=1.0,
        bandwidth_mhz=10.0,
        num_prb=50,
        prb_khz=180.0,
    )


def nr_cell(cell_id: int, name: str, *, carrier_ghz: float = 3.5) -> CellSite:
    """A public 5G cell of which nothing but its identity is known: 100 MHz, 273 PRBs of 360 kHz."""
    return CellSite(
        id=cell_id,
        name=name,
        x_m=0.0,
        y_m=0.0,
        environment=Environment.UMA,
        carrier_ghz=carrier_ghz,
        bandwidth_mhz=100.0,
        num_prb=273,
        prb_khz=360.0,
    )

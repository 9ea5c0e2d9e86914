"""Each fault's own words in the logs, and those of its cause before it bites."""

from __future__ import annotations

import dataclasses
import re

import pytest

from telemetry_sim.faults import Fault, FaultKind, FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.records import Telemetry
from telemetry_sim.scenarios import scenario

_TROUBLE = {
    FaultKind.CELL_OUTAGE: "cell out of service",
    FaultKind.BACKHAUL_CONGESTION: "backhaul (degraded|queue full)",
    FaultKind.INTERFERENCE_BURST: "noise rise on .* interference suspected",
    FaultKind.JAMMING: "jamming suspected",
    FaultKind.FLASH_CROWD: "buffer status high",
    FaultKind.NODE_CRASH: "out of memory: killed|taskd not responding",
    FaultKind.REBOOT_STORM: "watchdog reset",
    FaultKind.SENSOR_STUCK: "sensor may be stuck",
    FaultKind.SENSOR_DRIFT: "sensor self test: drift",
    FaultKind.SENSOR_SPIKES: "sample out of range",
    FaultKind.CLOCK_SKEW: "time sync lost",
    FaultKind.COMPROMISED_DEVICE: "login failed",
}
_CAUSES = {
    FaultKind.CELL_OUTAGE: r"RU temperature \d+ C exceeds",
    FaultKind.BACKHAUL_CONGESTION: "uplink0 CRC errors",
    FaultKind.FLASH_CROWD: "gathering announced near site",
    FaultKind.REBOOT_STORM: "firmware .* offered",
    FaultKind.NODE_CRASH: "memory .* malloc failed",
}
_INTERVAL_S = 10.0


def _struck(*kinds: FaultKind, period_s: float = 1.0) -> tuple[dict[FaultKind, Fault], Telemetry]:
    plan = FaultPlan(kinds=kinds, quiet_s=120.0, horizon_s=121.0, duration_s=(40.0, 40.0))
    network = Network(dataclasses.replace(scenario("ehealth", 60), faults=plan, period_s=period_s), seed=4)
    return {fault.kind: fault for fault in network.ground_truth()}, network.run(185.0)


@pytest.fixture(scope="module")
def everything() -> tuple[dict[FaultKind, Fault], Telemetry]:
    """A run that meets a fault of each kind."""
    return _struck(*FaultKind)


def _times(telemetry: Telemetry, pattern: str, cell: int) -> list[float]:
    return [line.time_s for line in telemetry.logs if line.cell == cell and re.search(pattern, line.text)]


def test_every_kind_has_its_words() -> None:
    assert set(_TROUBLE) == set(FaultKind)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_shows_in_the_logs_of_its_cell_while_it_lasts_and_only_then(
    everything: tuple[dict[FaultKind, Fault], Telemetry], kind: FaultKind
) -> None:
    faults, telemetry = everything
    told_s = _times(telemetry, _TROUBLE[kind], faults[kind].cell)
    assert len(told_s) >= 3
    assert min(told_s) >= faults[kind].start_s - 1.0
    assert max(told_s) <= faults[kind].end_s + 1.0
    others = [line for line in telemetry.logs if line.cell != faults[kind].cell]
    assert not any(re.search(_TROUBLE[kind], line.text) for line in others)


@pytest.mark.parametrize("kind", sorted(_CAUSES))
def test_a_cause_shows_in_the_logs_three_to_ten_intervals_before_its_fault(
    everything: tuple[dict[FaultKind, Fault], Telemetry], kind: FaultKind
) -> None:
    fault, telemetry = everything[0][kind], everything[1]
    assert 3.0 <= (fault.start_s - fault.first_sign_s) / _INTERVAL_S <= 10.0
    signs_s = _times(telemetry, _CAUSES[kind], fault.cell)
    assert len(signs_s) >= 3
    assert fault.first_sign_s - 1.0 <= min(signs_s) <= fault.start_s - 2.0 * _INTERVAL_S
    assert max(signs_s) <= fault.start_s


def test_longer_periods_lose_no_words() -> None:
    kinds = (FaultKind.CELL_OUTAGE, FaultKind.NODE_CRASH)
    faults, telemetry = _struck(*kinds, period_s=5.0)
    for kind, begun, over in zip(
        kinds,
        ("disabled by thermal protection", "out of memory: killed"),
        ("cell in service again", "node restart complete"),
        strict=True,
    ):
        cell = faults[kind].cell
        assert len(_times(telemetry, _TROUBLE[kind], cell)) >= 8
        assert len(_times(telemetry, _CAUSES[kind], cell)) >= 5
        assert len(_times(telemetry, begun, cell)) == 1
        assert len(_times(telemetry, over, cell)) == 1

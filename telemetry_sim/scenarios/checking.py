"""Configurations that can't exist, refused with the path of the field at fault."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.neighbourhood import refuse_isolated_cells
from telemetry_sim.scenarios.backhaul_plans import BackhaulGaps, SatelliteBackhaul

if TYPE_CHECKING:
    from telemetry_sim.faults import FaultPlan
    from telemetry_sim.scenarios.backhaul_plans import BackhaulPlan
    from telemetry_sim.scenarios.parts import LoadPlan, Population
    from telemetry_sim.topology import Topology

_MILLISECOND_S = 0.001
_MAX_LORA_PAYLOAD = 222
"""Bytes, at the fastest data rate. Source: LoRaWAN regional parameters RP002, table 12 (EU868)."""
_TINY = 1e-6


def check_topology(topology: Topology) -> None:
    """Each cell has neighbours, a way to the core and room for its PRBs."""
    refuse_isolated_cells(topology)
    for index, cell in enumerate(topology.cells):
        room = int(cell.bandwidth_mhz * 1000.0 / cell.prb_khz + _TINY)
        if cell.num_prb > room:
            raise ScenarioInvalid(
                f"topology.cells[{index}].num_prb: {cell.num_prb!r}, "
                f"at most {room} of {cell.prb_khz:g} kHz in {cell.bandwidth_mhz:g} MHz"
            )


def check_times(step_s: float, period_s: float) -> None:
    """Steps are whole milliseconds and fit into a period."""
    for name, value in (("step_s", step_s), ("period_s", period_s)):
        require_positive(name, value)
    _require_multiple("step_s", step_s, _MILLISECOND_S, "whole milliseconds")
    _require_multiple("period_s", period_s, step_s, f"a multiple of step_s ({step_s!r})")


def check_populations(populations: tuple[Population, ...], num_slices: int) -> None:
    """One for each slice, none of them empty, together all devices."""
    if len(populations) != num_slices:
        raise ScenarioInvalid(f"populations: {len(populations)} given, one per slice needed ({num_slices})")
    for index, population in enumerate(populations):
        _check_population(f"populations[{index}]", population)
    total = sum(population.part for population in populations)
    if not abs(total - 1.0) <= _TINY:
        raise ScenarioInvalid(f"populations[*].part: the sum is {total!r}, 1 needed")


def require_positive(path: str, value: float, most: float = math.inf) -> None:
    """Raise ScenarioInvalid unless the value is finite and above 0."""
    if not (math.isfinite(value) and 0.0 < value <= most):
        bound = "" if most == math.inf else f" and at most {most:g}"
        raise ScenarioInvalid(f"{path}: {value!r}, a finite number more than 0{bound} needed")


def _check_population(path: str, population: Population) -> None:
    require_positive(f"{path}.part", population.part, most=1.0)
    require_positive(f"{path}.cpu_ghz", population.cpu_ghz)
    for name in ("tasks_per_s", "task_bits"):
        _require_between(f"{path}.{name}", getattr(population, name), 0.0)
    if population.battery_j is not None:
        require_positive(f"{path}.battery_j", population.battery_j)
    _require_between(f"{path}.transmit_dbm", population.transmit_dbm, -60.0, 60.0)
    require_positive(f"{path}.discard_factor", population.discard_factor)
    _require_between(f"{path}.traffic.packets_per_s", population.traffic.packets_per_s, 0.0)
    for name in ("size_bits", "on_s"):
        require_positive(f"{path}.traffic.{name}", getattr(population.traffic, name))
    _require_between(f"{path}.traffic.off_s", population.traffic.off_s, 0.0)
    _require_between(f"{path}.mobility.speed_mps", population.mobility.speed_mps, 0.0)
    if population.sensor is not None:
        for name, least in (("mean", -math.inf), ("spread", 0.0), ("noise", 0.0), ("swing", -math.inf)):
            _require_between(f"{path}.sensor.{name}", getattr(population.sensor, name), least)
    if population.lora is not None:
        require_positive(f"{path}.lora.interval_s", population.lora.interval_s)
        _require_between(f"{path}.lora.payload_bytes", population.lora.payload_bytes, 1, _MAX_LORA_PAYLOAD)


def check_load(load: LoadPlan | None, num_slices: int) -> None:
    """Shares make a whole, bounds are in order, and some slice can always surge."""
    if load is None:
        return
    if len(load.shares) != num_slices:
        raise ScenarioInvalid(f"load.shares: {len(load.shares)} given, one per slice needed ({num_slices})")
    for index, share in enumerate(load.shares):
        _require_between(f"load.shares[{index}]", share, 0.0, 1.0)
    if not abs(sum(load.shares) - 1.0) <= _TINY:
        raise ScenarioInvalid(f"load.shares: the sum is {sum(load.shares)!r}, 1 needed")
    _require_between("load.low", load.low, 0.0)
    _require_between("load.high", load.high, load.low)
    for name in ("surge", "calm", "tasks"):
        _require_range(f"load.{name}", getattr(load, name))
    _require_range("load.episode_s", load.episode_s)
    require_positive("load.episode_s", load.episode_s[0])
    _require_between("load.ramp_s", load.ramp_s, 0.0)
    # No slice surges twice in a row, so with several two at least must be able to.
    least = min(2, num_slices)
    if load.odds and (len(load.odds) != num_slices or min(load.odds) < 0.0 or sum(x > 0.0 for x in load.odds) < least):
        raise ScenarioInvalid(
            f"load.odds: {load.odds!r}, one per slice needed ({num_slices}), none negative, {least} above 0"
        )


def check_faults(faults: FaultPlan) -> None:
    """Times are times."""
    _require_between("faults.quiet_s", faults.quiet_s, 0.0)
    require_positive("faults.horizon_s", faults.horizon_s)
    _require_range("faults.duration_s", faults.duration_s)
    _require_range("faults.lead_s", faults.lead_s)


def check_gaps(gaps: BackhaulPlan | None) -> None:
    """A gap is shorter than its period, an orbit has satellites, a circle leaves out the shore."""
    if isinstance(gaps, BackhaulGaps):
        require_positive("backhaul_gaps.period_s", gaps.period_s)
        _require_between("backhaul_gaps.gap_s", gaps.gap_s, 0.0, gaps.period_s)
    elif isinstance(gaps, SatelliteBackhaul):
        require_positive("backhaul_gaps.altitude_m", gaps.altitude_m)
        _require_between("backhaul_gaps.num_satellites", gaps.num_satellites, 1)
        _require_between("backhaul_gaps.cross_track_deg", gaps.cross_track_deg, 0.0, 90.0)
    elif gaps is not None:
        for name in ("shore_m", "circle_m", "speed_mps", "endurance_s"):
            require_positive(f"backhaul_gaps.{name}", getattr(gaps, name))
        _require_between("backhaul_gaps.circle_m", gaps.circle_m, 0.0, 0.9 * gaps.shore_m)
        _require_between("backhaul_gaps.change_s", gaps.change_s, 0.0, gaps.endurance_s)
        _require_between("backhaul_gaps.nearest_snr_db", gaps.nearest_snr_db, -20.0, 60.0)
        _require_between("backhaul_gaps.relay_ms", gaps.relay_ms, 0.0)


def _require_between(path: str, value: float, low: float, high: float = math.inf) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        bounds = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise ScenarioInvalid(f"{path}: {value!r}, a finite number {bounds} needed")


def _require_range(path: str, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not (math.isfinite(high) and 0.0 <= low <= high):
        raise ScenarioInvalid(f"{path}: {bounds!r}, two finite numbers from 0 on in ascending order needed")


def _require_multiple(path: str, value: float, unit: float, allowed: str) -> None:
    times = value / unit
    if round(times) < 1 or abs(times - round(times)) > _TINY * times:
        raise ScenarioInvalid(f"{path}: {value!r}, {allowed} needed")

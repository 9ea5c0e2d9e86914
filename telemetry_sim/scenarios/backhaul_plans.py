"""Backhauls that come and go: regular gaps, satellites on an orbit, drones that relay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.radio import non_terrestrial

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIGHT_MPS = 299_792_458.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackhaulGaps:
    """Regular interruptions of the backhaul, as a satellite hands over to the next; each cell at its own time."""

    period_s: float
    gap_s: float

    def factors(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: 0 in a gap, else 1."""
        phase = _phases(num_cells) * self.period_s
        return np.where((time_s + phase) % self.period_s < self.gap_s, 0.0, 1.0)

    def delays_s(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: added to its backhaul's delay."""
        del time_s
        return np.zeros(num_cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class SatelliteBackhaul:
    """A backhaul by satellites on one orbit: they come, hand over and leave gaps, for all the cells at once."""

    altitude_m: float = non_terrestrial.LEO_ALTITUDE_M
    num_satellites: int = 12
    cross_track_deg: float = 6.0
    """How far beside the orbit's track the cells lie, as an angle at the earth's centre."""

    def factors(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: 0 while no satellite stands high enough, else 1."""
        return np.full(num_cells, float(self._elevation_deg(time_s) >= non_terrestrial.MIN_ELEVATION_DEG))

    def delays_s(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: up to the satellite and down to its gateway, taken as equally far."""
        elevation_deg = max(self._elevation_deg(time_s), non_terrestrial.MIN_ELEVATION_DEG)
        hop_ms = non_terrestrial.one_way_delay_scalar_ms(elevation_deg, self.altitude_m)
        return np.full(num_cells, 2.0 * hop_ms / 1000.0)

    def _elevation_deg(self, time_s: float) -> float:
        return non_terrestrial.elevation_scalar_deg(
            float(time_s), self.altitude_m, self.num_satellites, self.cross_track_deg
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UavRelays:
    """A drone above each cell carries its backhaul to the shore: it circles, and lands when its battery is low.

    Free space decides: the capacity follows Shannon's at the distance that the circle leaves, over that of its nearest
    point. While drones change places the cell has no backhaul; each cell has its own time.
    """

    shore_m: float = 9_000.0
    """From the middle of the circle to the station on the shore."""
    circle_m: float = 1_500.0
    """Radius that the drone flies."""
    speed_mps: float = 22.0
    endurance_s: float = 1_200.0
    """From one change of drones to the next."""
    change_s: float = 12.0
    nearest_snr_db: float = 25.0
    """At the circle's nearest point."""
    relay_ms: float = 3.0
    """What a packet needs to be received and sent again on board, one way."""

    def factors(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: 0 while drones change, else the part of the capacity that the distance leaves."""
        fade = (self._distance_m(num_cells, time_s) / (self.shore_m - self.circle_m)) ** 2
        nearest_snr = 10.0 ** (0.1 * self.nearest_snr_db)
        part = np.log2(1.0 + nearest_snr / fade) / np.log2(1.0 + nearest_snr)
        since_s = (time_s + _phases(num_cells) * self.endurance_s) % self.endurance_s
        return np.asarray(np.where(since_s < self.change_s, 0.0, part))

    def delays_s(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        """Per cell: the relay and the way to the shore."""
        return np.asarray(self.relay_ms / 1000.0 + self._distance_m(num_cells, time_s) / LIGHT_MPS)

    def _distance_m(self, num_cells: int, time_s: float) -> NDArray[np.float64]:
        angle = self.speed_mps / self.circle_m * time_s + 2.0 * math.pi * _phases(num_cells)
        return np.asarray(np.hypot(self.shore_m - self.circle_m * np.cos(angle), self.circle_m * np.sin(angle)))


BackhaulPlan = BackhaulGaps | SatelliteBackhaul | UavRelays


def _phases(num_cells: int) -> NDArray[np.float64]:
    """Each cell's place (0-1) in its cycle, spread by the golden section."""
    return np.asarray(np.arange(num_cells) * 0.618 % 1.0)

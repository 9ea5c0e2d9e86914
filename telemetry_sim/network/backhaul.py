"""Backhaul links that cells share: what each cell gets of them, period by period.

Like interference, the division follows what was wanted in the period before, so that within a period cells don't
touch each other and any split of them over threads gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.neighbourhood import backhaul_routes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from telemetry_sim.topology import Topology

_HEADROOM = 1.2
"""What a cell may ask for over what it wanted last, before the spare capacity is given out."""


class SharedBackhaul:
    """The routes of a topology's cells to the core and the capacity along them."""

    def __init__(self, topology: Topology) -> None:
        links = topology.backhaul
        routes = backhaul_routes(topology)
        self._capacity_bps = np.array([link.capacity_mbps * 1e6 for link in links])
        self._own_bps = np.array([cell.backhaul_mbps * 1e6 for cell in topology.cells])
        self._uses = np.zeros((len(links), len(topology.cells)), np.bool_)
        for cell, route in enumerate(routes):
            self._uses[list(route), cell] = True
        own_s = np.array([cell.backhaul_ms / 1000.0 for cell in topology.cells])
        self.delay_s = own_s + self._uses.T @ np.array([link.delay_ms / 1000.0 for link in links])
        """One-way delay of each cell's idle route, its own link included."""

    def shares_bps(self, wanted_bps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rate of each cell's route: max-min fair in what is wanted, then the spare to everybody alike.

        Source: Bertsekas and Gallager, Data Networks, 1992, 6.5.2 (progressive filling).
        """
        left = self._capacity_bps.copy()
        given = self._fill(np.minimum(wanted_bps * _HEADROOM, self._own_bps), left)
        return given + self._fill(self._own_bps - given, left)

    def _fill(self, wanted_bps: NDArray[np.float64], left: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raise all rates alike until each is satisfied or a link on its route is full; `left` is used up."""
        given = np.zeros(len(wanted_bps))
        is_open = wanted_bps > 0.0
        # Each round satisfies a cell or fills a link.
        for _ in range(len(wanted_bps) + len(left)):
            if not is_open.any():
                break
            users = self._uses @ is_open.astype(float)
            per_user = np.divide(left, users, out=np.full(len(left), np.inf), where=users > 0)
            step = min(float(per_user.min(initial=np.inf)), float((wanted_bps - given)[is_open].min()))
            given[is_open] += step
            left -= step * users
            is_full = (users > 0) & (left <= 1e-9 * self._capacity_bps)
            is_open &= (wanted_bps - given > 1e-9 * self._own_bps) & ~(self._uses[is_full].any(axis=0))
        return given

"""Readings that travel by LoRaWAN: when each device sends and what the gateway at its home cell makes out.

A gateway hears the devices of its own cell only; packets on either side of a block's edge don't collide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from telemetry_sim.compiled import kernel
from telemetry_sim.lora import SPREADING_FACTORS, LoraSettings, received, silence_after_us, time_on_air_us
from telemetry_sim.lora_cell import NUM_CHANNELS, TRANSMIT_W, LoraCell, spreading_factors
from telemetry_sim.radio.line_of_sight import los_probability_scalar
from telemetry_sim.radio.path_loss import DEVICE_HEIGHT_M, path_loss_scalar_db

if TYPE_CHECKING:
    from telemetry_sim.network.state import State
    from telemetry_sim.scenarios import Scenario

Members = NDArray[np.int64]
"""Places among the LoRaWAN devices."""

CARRIER_GHZ = 0.868
TRANSMIT_DBM = 14.0
GATEWAY_GAIN_DB = 6.0
"""A usual collinear antenna."""
BLOCK_S = 600.0
"""Stretch whose packets are drawn and compared at once."""
_JITTER = 0.1


class LoraUplinks:
    """The LoRaWAN devices of a scenario."""

    def __init__(
        self, scenario: Scenario, homes: NDArray[np.int64], slices: NDArray[np.int64], rng: np.random.Generator
    ) -> None:
        plans = [population.lora for population in scenario.populations]
        self._devices = np.flatnonzero(np.array([plan is not None for plan in plans])[slices])
        self._homes = homes[self._devices]
        self._has_lora = np.zeros(len(slices), np.bool_)
        self._has_lora[self._devices] = True
        self._rng = rng
        self._interval_s = np.array([0.0 if plan is None else plan.interval_s for plan in plans])[slices][self._devices]
        self._payload = np.array([0 if plan is None else plan.payload_bytes for plan in plans])[slices][self._devices]
        self._block = -1
        self._ends_s = np.empty(0)
        self._senders = np.empty(0, np.int64)
        self._is_heard = np.empty(0, np.bool_)

    def settle(self, state: State) -> None:
        """Give each device the spreading factor that reaches its gateway, and the phase of its reports."""
        if not len(self._devices):
            return
        los = self._rng.uniform(0.0, 1.0, len(self._devices))
        self._rssi_dbm = _levels_dbm(state, self._devices, self._homes, los)
        cell = LoraCell(rssi_dbm=self._rssi_dbm, interval_s=1.0, payload_bytes=int(self._payload[0]))
        self._factors = spreading_factors(cell)
        airtime_us = {
            (sf, size): time_on_air_us(size, LoraSettings(spreading_factor=sf))
            for sf in SPREADING_FACTORS
            for size in set(self._payload.tolist())
        }
        pairs = list(zip(self._factors.tolist(), self._payload.tolist(), strict=True))
        self._airtime_s = np.array([airtime_us[pair] for pair in pairs]) / 1e6
        least_s = self._airtime_s + np.array([silence_after_us(airtime_us[pair]) for pair in pairs]) / 1e6
        # Jitter may bring two reports closer by its width on either side.
        self._spacing_s = np.maximum(self._interval_s, least_s / (1.0 - _JITTER))
        self._phase_s = self._rng.uniform(0.0, self._spacing_s)

    def send(self, state: State, begin_s: float, end_s: float) -> Members:
        """The members, in rising order, of which a packet came in during this period. Sending drains batteries.

        A device whose battery is empty sends nothing.
        """
        if not len(self._devices):
            return self._devices
        if int(begin_s // BLOCK_S) != self._block:
            self._draw_block(int(begin_s // BLOCK_S))
        first, last = np.searchsorted(self._ends_s, (begin_s, end_s))
        sent = self._senders[first:last]
        # Batteries that are not there are NaN; one that sending emptied is found by the cell only later.
        who = self._devices[sent]
        is_on = state.devices["is_on"][who] & ~(state.devices["battery_j"][who] <= 0.0)
        heard = np.unique(sent[is_on & self._is_heard[first:last]])
        sent = sent[is_on]
        spent_j = np.bincount(sent, self._airtime_s[sent] * TRANSMIT_W, minlength=len(self._devices))
        state.devices["energy_j"][self._devices] += spent_j
        left_j = state.devices["battery_j"][self._devices] - spent_j
        state.devices["battery_j"][self._devices] = np.maximum(left_j, 0.0)
        return heard

    def with_heard(
        self, state: State, reporting: NDArray[np.int64], cells: NDArray[np.int16], heard: Members
    ) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Whose readings come in, in rising order, and in which cell.

        Without LoRaWAN a reading comes with its device's report, with LoRaWAN whatever the device reports. It is
        counted where the device's rows are, at its home cell where no cell serves it.
        """
        if not len(self._devices):
            return reporting, cells
        by_cell = ~self._has_lora[reporting]
        who = np.concatenate((reporting[by_cell], self._devices[heard]))
        serving = state.devices["cell"][self._devices[heard]]
        at = np.concatenate((cells[by_cell], np.where(serving >= 0, serving, self._homes[heard]).astype(np.int16)))
        order = np.argsort(who, kind="stable")
        return who[order], at[order]

    def _draw_block(self, block: int) -> None:
        begin_s, spacing_s = block * BLOCK_S, self._spacing_s
        first = np.ceil((begin_s - self._phase_s) / spacing_s).astype(np.int64)
        last = np.ceil((begin_s + BLOCK_S - self._phase_s) / spacing_s).astype(np.int64)
        sender = np.repeat(np.arange(len(spacing_s)), last - first)
        number = np.arange(len(sender)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
        jitter = self._rng.uniform(0.0, _JITTER, len(sender))
        start_s = self._phase_s[sender] + (first[sender] + number + jitter) * spacing_s[sender]
        channel = self._homes[sender] * NUM_CHANNELS + self._rng.integers(0, NUM_CHANNELS, len(sender))
        is_heard = received(
            start_s=start_s,
            airtime_s=self._airtime_s[sender],
            channel=channel,
            spreading_factor=self._factors[sender],
            rssi_dbm=self._rssi_dbm[sender],
        )
        # What ends after the block counts at its end.
        end_s = np.minimum(start_s + self._airtime_s[sender], np.nextafter(begin_s + BLOCK_S, 0.0))
        order = np.argsort(end_s, kind="stable")
        self._ends_s, self._senders, self._is_heard = end_s[order], sender[order], is_heard[order]
        self._block = block


@kernel
def _levels_dbm(
    state: State, members: NDArray[np.int64], homes: NDArray[np.int64], sight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean level of each device at its gateway; `sight` (0-1) decides who stands in line of sight."""
    levels_dbm = np.empty(members.shape[0])
    for n in range(members.shape[0]):
        device, cell = members[n], homes[n]
        x_m = state.devices[device].x_m - state.cells[cell].x_m
        y_m = state.devices[device].y_m - state.cells[cell].y_m
        distance_m = np.hypot(x_m, y_m)
        code, height_m = state.cells[cell].environment, state.cells[cell].height_m
        is_los = sight[n] < los_probability_scalar(code, distance_m, height_m, DEVICE_HEIGHT_M)
        loss_db = path_loss_scalar_db(code, distance_m, is_los, CARRIER_GHZ, height_m, DEVICE_HEIGHT_M)
        levels_dbm[n] = TRANSMIT_DBM + GATEWAY_GAIN_DB - loss_db
    return levels_dbm

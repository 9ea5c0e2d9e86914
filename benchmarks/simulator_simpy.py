"""The same physics as a SimPy model: fading links, Poisson packets, proportional fairness each millisecond.

It leaves out what the kernel also does: slices, deadlines, backhaul, compute, energy, handovers and reports.
"""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

STEP_S = 0.1
TTI_S = 0.001
NUM_PRB = 51.0
_BITS_PER_SLOT = tuple(132.0 * 5.55 * k / 240.0 for k in range(241))
"""A table of the link's rate over SINR, of the size that the compiled kernel reads."""


class _Device:
    """A device with its link, its source and its buffer."""

    def __init__(self, environment: Any, rng: random.Random, packets_per_s: float, size_bits: float) -> None:
        self.environment, self.rng = environment, rng
        self.packets_per_s, self.size_bits = packets_per_s, size_bits
        self.real, self.imaginary = rng.gauss(0.0, 0.7), rng.gauss(0.0, 0.7)
        self.bits_per_prb_s = 1.0
        self.average_bits = 0.0
        self.delay_s = 0.0
        self.num_served = 0
        self.arrivals_s: list[float] = []
        self.left_bits = 0.0
        environment.process(self.fade())
        environment.process(self.receive())

    def fade(self) -> Generator[Any, Any, None]:
        while True:
            self.real = 0.1 * self.real + 0.7 * self.rng.gauss(0.0, 1.0)
            self.imaginary = 0.1 * self.imaginary + 0.7 * self.rng.gauss(0.0, 1.0)
            power = self.real**2 + self.imaginary**2
            sinr_db = 15.0 + 10.0 * math.log10(max(1e-6, 1.0 + (power - 1.0) * 0.35))
            entry = min(240, max(1, int((sinr_db + 15.0) * 4.0)))
            self.bits_per_prb_s = _BITS_PER_SLOT[entry] * 2000.0
            self.average_bits *= 0.6
            yield self.environment.timeout(STEP_S)

    def receive(self) -> Generator[Any, Any, None]:
        while True:
            yield self.environment.timeout(self.rng.expovariate(self.packets_per_s))
            if not self.arrivals_s:
                self.left_bits = self.size_bits
            self.arrivals_s.append(self.environment.now)

    def send(self, cursor_s: float, end_s: float) -> float:
        """Send from the cursor on; the time when the buffer is empty or the millisecond full."""
        rate_bps = NUM_PRB * self.bits_per_prb_s
        while self.arrivals_s and cursor_s < end_s:
            start_s = max(cursor_s, self.arrivals_s[0])
            bits = min(self.left_bits, (end_s - start_s) * rate_bps)
            cursor_s = start_s + bits / rate_bps
            self.average_bits += bits / 200.0
            self.left_bits -= bits
            if self.left_bits <= 0.0:
                self.delay_s += cursor_s - self.arrivals_s.pop(0)
                self.num_served += 1
                self.left_bits = self.size_bits
        return cursor_s


def _run_cell(environment: Any, devices: list[_Device]) -> Generator[Any, Any, None]:
    while True:
        yield environment.timeout(TTI_S)
        end_s = environment.now
        cursor_s = end_s - TTI_S
        waiting = [device for device in devices if device.arrivals_s]
        waiting.sort(key=lambda device: -device.bits_per_prb_s / (device.average_bits + 1.0))
        for device in waiting:
            cursor_s = device.send(cursor_s, end_s)
            if cursor_s >= end_s:
                break


def device_steps_per_cpu_s(
    num_devices: int, num_cells: int, duration_s: float, packets_per_s: float, size_bits: float
) -> float:
    """Device-steps that SimPy makes in a second of CPU time."""
    import simpy

    environment = simpy.Environment()
    rng = random.Random(1)
    devices = [_Device(environment, rng, packets_per_s, size_bits) for _ in range(num_devices)]
    for cell in range(num_cells):
        environment.process(_run_cell(environment, devices[cell::num_cells]))
    begin_s = time.process_time()
    environment.run(until=duration_s)
    spent_s = time.process_time() - begin_s
    assert sum(device.num_served for device in devices) > 0
    return num_devices * duration_s / STEP_S / spent_s

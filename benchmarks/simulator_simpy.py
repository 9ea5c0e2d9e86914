"""The same physics as a SimPy model: fading links every step, Poisson packets, a first-in-first-out server a device."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

STEP_S = 0.1
_BITS_PER_SLOT = tuple(132.0 * 5.55 * k / 240.0 for k in range(241))
"""A table of the link's rate over SINR, of the size that the compiled kernel reads."""


class _Device:
    """A device with its link, its source and its buffer; every device has an equal part of the cell's PRBs."""

    def __init__(
        self, environment: Any, rng: random.Random, packets_per_s: float, size_bits: float, num_prb: float
    ) -> None:
        self.environment, self.rng = environment, rng
        self.packets_per_s, self.size_bits, self.num_prb = packets_per_s, size_bits, num_prb
        self.real, self.imaginary = rng.gauss(0.0, 0.7), rng.gauss(0.0, 0.7)
        self.rate_bps = 1.0
        self.served_bits = self.delay_s = 0.0
        self.num_served = 0
        self.arrivals: list[float] = []
        self.wake = environment.event()
        for behaviour in (self.fade, self.receive, self.serve):
            environment.process(behaviour())

    def fade(self) -> Generator[Any, Any, None]:
        while True:
            self.real = 0.1 * self.real + 0.7 * self.rng.gauss(0.0, 1.0)
            self.imaginary = 0.1 * self.imaginary + 0.7 * self.rng.gauss(0.0, 1.0)
            power = self.real**2 + self.imaginary**2
            sinr_db = 15.0 + 10.0 * math.log10(max(1e-6, 1.0 + (power - 1.0) * 0.35))
            entry = min(240, max(0, int((sinr_db + 15.0) * 4.0)))
            self.rate_bps = self.num_prb * _BITS_PER_SLOT[entry] * 2000.0
            yield self.environment.timeout(STEP_S)

    def receive(self) -> Generator[Any, Any, None]:
        while True:
            yield self.environment.timeout(self.rng.expovariate(self.packets_per_s))
            self.arrivals.append(self.environment.now)
            if not self.wake.triggered:
                self.wake.succeed()

    def serve(self) -> Generator[Any, Any, None]:
        while True:
            if not self.arrivals:
                self.wake = self.environment.event()
                yield self.wake
            yield self.environment.timeout(self.size_bits / self.rate_bps)
            self.delay_s += self.environment.now - self.arrivals.pop(0)
            self.served_bits += self.size_bits
            self.num_served += 1


def device_steps_per_cpu_s(num_devices: int, duration_s: float, packets_per_s: float, size_bits: float) -> float:
    """Device-steps that SimPy makes in a second of CPU time."""
    import simpy

    environment = simpy.Environment()
    rng = random.Random(1)
    devices = [_Device(environment, rng, packets_per_s, size_bits, 51.0 * 4 / num_devices) for _ in range(num_devices)]
    begin_s = time.process_time()
    environment.run(until=duration_s)
    spent_s = time.process_time() - begin_s
    assert sum(device.num_served for device in devices) > 0
    return num_devices * duration_s / STEP_S / spent_s

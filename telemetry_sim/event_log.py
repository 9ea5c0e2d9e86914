"""Log lines as three vendors' equipment would write them: the gNB, the site's gateway and the devices' firmware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry_sim.faults import Fault, FaultKind
from telemetry_sim.records import LogRecord

if TYPE_CHECKING:
    import numpy as np

_SIGN_RATE_PER_S = (0.06, 0.5)
"""Lines a second that a fault's cause writes, at its first sign and just before it bites."""
_TROUBLE_RATE_PER_S = 0.4


class EventLog:
    """Writes lines; every draw comes from its own generator."""

    def __init__(self, rng: np.random.Generator, *, period_s: float = 1.0) -> None:
        self.period_s = period_s
        """Spacing of the moments at which lines are written."""
        self._rng = rng
        self._lines: list[LogRecord] = []

    def take(self) -> tuple[LogRecord, ...]:
        """The lines since the last call, in order of time."""
        lines = tuple(sorted(self._lines, key=lambda line: line.time_s))
        self._lines.clear()
        return lines

    def gnb(self, time_s: float, cell: int, layer: str, level: str, message: str) -> None:
        """A line of the base station: `00012.345 [RRC] I cell=2 ...`."""
        at_s = self._within(time_s)
        self._write(at_s, cell, "gnb", f"{at_s:09.3f} [{layer}] {level} cell={cell} {message}")

    def gateway(self, time_s: float, cell: int, process: str, message: str) -> None:
        """A line of the gateway, syslog style: `2026-01-05T00:00:12.345Z edgegw-2 taskd[311]: ...`."""
        at_s = self._within(time_s)
        day, rest = divmod(at_s, 86_400.0)
        hour, rest = divmod(rest, 3600.0)
        minute, second = divmod(rest, 60.0)
        stamp = f"2026-01-{5 + int(day) % 26:02d}T{int(hour):02d}:{int(minute):02d}:{second:06.3f}Z"
        number = 300 + sum(process.encode()) % 600
        self._write(at_s, cell, "gateway", f"{stamp} edgegw-{cell} {process}[{number}]: {message}")

    def firmware(self, time_s: float, cell: int, device: int, message: str) -> None:
        """A line of a device, uptime first: `[   12.345678] dev-00042 ...`."""
        at_s = self._within(time_s)
        self._write(at_s, cell, "firmware", f"[{at_s:12.6f}] dev-{device:05d} {message}")

    def times(self, rate_per_s: float) -> int:
        """How often something of a rate happens in a period."""
        return int(self._rng.poisson(rate_per_s * self.period_s))

    def number(self, low: int, high: int) -> int:
        """A whole number for a line, `high` excluded."""
        return int(self._rng.integers(low, high))

    def _within(self, time_s: float) -> float:
        # Lines of a period are spread over it: `time_s` is its end.
        return max(0.0, time_s - self.period_s * float(self._rng.random()))

    def _write(self, at_s: float, cell: int, source: str, text: str) -> None:
        self._lines.append(LogRecord(time_s=at_s, cell=cell, source=source, text=text))


def log_fault(log: EventLog, fault: Fault, time_s: float) -> None:
    """What a fault makes the equipment write in the period that ends at `time_s`."""
    if fault.first_sign_s <= time_s < fault.start_s:
        nearness = (time_s - fault.first_sign_s) / (fault.start_s - fault.first_sign_s)
        low, high = _SIGN_RATE_PER_S
        for _ in range(log.times(low + (high - low) * nearness)):
            _log_sign(log, fault, time_s, nearness)
    elif fault.start_s <= time_s < fault.start_s + log.period_s:
        _log_start(log, fault, time_s)
    elif fault.is_active(time_s):
        for _ in range(log.times(_TROUBLE_RATE_PER_S)):
            _log_trouble(log, fault, time_s)
    elif fault.end_s <= time_s < fault.end_s + log.period_s:
        _log_end(log, fault, time_s)


def _log_sign(log: EventLog, fault: Fault, time_s: float, nearness: float) -> None:
    cell = fault.cell
    match fault.kind:
        case FaultKind.CELL_OUTAGE:
            degrees = 72 + int(18 * nearness) + log.number(0, 3)
            log.gnb(
                time_s,
                cell,
                "PHY",
                "W",
                f"RU temperature {degrees} C exceeds 70 C, fan 2 at {log.number(300, 900)} rpm",
            )
        case FaultKind.BACKHAUL_CONGESTION:
            errors = int(20 + 400 * nearness) + log.number(0, 30)
            log.gateway(time_s, cell, "netmon", f"WARN uplink0 CRC errors {errors} in last 10 s, FEC margin shrinking")
        case FaultKind.FLASH_CROWD:
            percent = int(100 * (1.0 + 2.0 * fault.strength))
            log.gateway(
                time_s,
                cell,
                "eventd",
                f"NOTICE gathering announced near site, slice {fault.slice} load to exceed usual by {percent}%",
            )
        case FaultKind.REBOOT_STORM:
            version = 2 + log.number(0, 2)
            log.gateway(
                time_s, cell, "otad", f"INFO firmware 4.{version} offered, {log.number(1, 40)} devices accepted"
            )
        case FaultKind.NODE_CRASH:
            used = 82 + int(16 * nearness)
            log.gateway(
                time_s, cell, "taskd", f"WARN memory {used}% used, malloc failed for {log.number(2, 60)} MiB, retrying"
            )
        case _:
            pass


def _log_start(log: EventLog, fault: Fault, time_s: float) -> None:
    cell = fault.cell
    match fault.kind:
        case FaultKind.CELL_OUTAGE:
            log.gnb(time_s, cell, "OAM", "E", "cell out of service, RU disabled by thermal protection")
        case FaultKind.BACKHAUL_CONGESTION:
            log.gateway(time_s, cell, "netmon", "ERR backhaul degraded, traffic rerouted over a shared path")
        case FaultKind.NODE_CRASH:
            log.gateway(time_s, cell, "kernel", f"ERR out of memory: killed process {log.number(1000, 9000)} (taskd)")
        case _:
            _log_trouble(log, fault, time_s)


def _log_trouble(log: EventLog, fault: Fault, time_s: float) -> None:
    if fault.kind in _DEVICE_LINES:
        device = fault.devices[log.number(0, len(fault.devices))]
        log.firmware(time_s, fault.cell, device, _DEVICE_LINES[fault.kind].format(log.number(5, 90)))
        return
    source, part, line = _SITE_LINES[fault.kind]
    text = line.format(log.number(6, 40))
    if source == "gnb":
        log.gnb(time_s, fault.cell, part, "W", text)
    else:
        log.gateway(time_s, fault.cell, part, f"ERR {text}")


_DEVICE_LINES = {
    FaultKind.REBOOT_STORM: "E watchdog reset, boot count {}, booting 4.3",
    FaultKind.CLOCK_SKEW: "W time sync lost, clock offset {} s",
    FaultKind.SENSOR_STUCK: "W adc: sample unchanged for {} reads, sensor may be stuck",
    FaultKind.SENSOR_DRIFT: "W sensor self test: drift {} counts",
    FaultKind.SENSOR_SPIKES: "W adc: sample out of range, sensor reading {}00",
}

_SITE_LINES = {
    FaultKind.CELL_OUTAGE: ("gnb", "OAM", "cell out of service, retry {} failed"),
    FaultKind.INTERFERENCE_BURST: ("gnb", "PHY", "noise rise on {} PRBs, interference suspected"),
    FaultKind.JAMMING: ("gnb", "PHY", "jamming suspected, noise rise {} dB across the band"),
    FaultKind.FLASH_CROWD: ("gnb", "MAC", "buffer status high, {} UEs waiting"),
    FaultKind.BACKHAUL_CONGESTION: ("gateway", "netmon", "backhaul queue full, {}0 packets dropped"),
    FaultKind.NODE_CRASH: ("gateway", "watchdog", "taskd not responding, restarting (attempt {})"),
    FaultKind.COMPROMISED_DEVICE: ("gateway", "authd", "login failed for device account, source 185.0.113.{}"),
}


def _log_end(log: EventLog, fault: Fault, time_s: float) -> None:
    cell = fault.cell
    match fault.kind:
        case FaultKind.CELL_OUTAGE:
            log.gnb(time_s, cell, "OAM", "I", "cell in service again")
        case FaultKind.BACKHAUL_CONGESTION:
            log.gateway(time_s, cell, "netmon", "NOTICE backhaul restored to its own path")
        case FaultKind.NODE_CRASH:
            log.gateway(time_s, cell, "systemd", "NOTICE taskd started, node restart complete")
        case _:
            pass

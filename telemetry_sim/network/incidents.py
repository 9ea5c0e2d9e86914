"""What a period's counters make the equipment write, and the alarms that management systems raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.compiled import kernel
from telemetry_sim.event_log import log_fault
from telemetry_sim.faults import FaultKind
from telemetry_sim.records import Alarm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from telemetry_sim.event_log import EventLog
    from telemetry_sim.faults import Fault
    from telemetry_sim.network.state import Records, State

_CHATTER_PER_S = 0.15
"""Lines a second and cell that mean nothing."""
_MANY = 3
"""Lines of one kind that a cell writes in a period; the rest are suppressed, as rate limiters do."""
_LOW_SINR_DB = -6.0
_BUSY = 0.97
_ALARMED = frozenset(
    {
        FaultKind.CELL_OUTAGE,
        FaultKind.BACKHAUL_CONGESTION,
        FaultKind.INTERFERENCE_BURST,
        FaultKind.JAMMING,
        FaultKind.REBOOT_STORM,
        FaultKind.NODE_CRASH,
    }
)


def log_period(log: EventLog, state: State, faults: Sequence[Fault], time_s: float) -> None:
    """Write the lines of the period that ends at `time_s`."""
    for fault in faults:
        log_fault(log, fault, time_s)
    cells = state.cells
    for cell in range(len(cells)):
        _log_chatter(log, state, cell, time_s)
        _log_mobility(log, state, cell, time_s)
    _log_pressure(log, state, time_s)


def _log_chatter(log: EventLog, state: State, cell: int, time_s: float) -> None:
    for _ in range(log.times(_CHATTER_PER_S)):
        match log.number(0, 4):
            case 0:
                used = state.cells["prb_ms"][cell] / 10.0 / state.cells["num_prb"][cell]
                log.gnb(time_s, cell, "MAC", "I", f"dl prb usage {used:.0f}%")
            case 1:
                log.gateway(time_s, cell, "chronyd", f"INFO selected source 10.0.{cell}.1 stratum {log.number(1, 4)}")
            case 2:
                log.gateway(time_s, cell, "sshd", f"INFO session closed for user ops{log.number(1, 9)}")
            case _:
                device = log.number(0, len(state.devices))
                log.firmware(time_s, cell, device, f"I report sent seq={log.number(1, 60000)} ok")


def _log_mobility(log: EventLog, state: State, cell: int, time_s: float) -> None:
    failures = int(state.cells["num_handover_failures"][cell])
    for _ in range(min(_MANY, int(state.cells["num_handovers"][cell]) - failures)):
        log.gnb(time_s, cell, "RRC", "I", f"ue=0x{log.number(1, 65536):04x} handover complete")
    for _ in range(min(_MANY, failures)):
        log.gnb(time_s, cell, "RRC", "W", f"ue=0x{log.number(1, 65536):04x} handover failure, T304 expired")


def _log_pressure(log: EventLog, state: State, time_s: float) -> None:
    devices, cells = state.devices, state.cells
    for device in _first_weak(devices, _MANY):
        if log.times(0.1):
            log.gnb(
                time_s,
                int(devices["cell"][device]),
                "RLC",
                "W",
                f"ue=0x{int(device) + 1:04x} max retransmissions reached",
            )
    for device in _first_low(devices, _MANY):
        if log.times(0.05):
            log.firmware(time_s, max(0, int(devices["cell"][device])), int(device), "W battery low, 3.31 V")
    for cell in np.flatnonzero(cells["edge_cycles"] > _BUSY * cells["edge_hz"]):
        if log.times(0.2):
            log.gateway(time_s, int(cell), "taskd", f"WARN cpu load high, {log.number(10, 250)} tasks queued")


@kernel
def _first_weak(devices: Records, most: int) -> NDArray[np.int64]:
    """The first devices that received something over a weak link."""
    found = np.empty(most, np.int64)
    num = 0
    for device in range(devices.shape[0]):
        if devices[device].sinr_db < _LOW_SINR_DB and devices[device].cell >= 0 and devices[device].served_packets > 0:
            found[num] = device
            num += 1
            if num == most:
                break
    return found[:num]


@kernel
def _first_low(devices: Records, most: int) -> NDArray[np.int64]:
    """The first devices whose batteries are low but not empty."""
    found = np.empty(most, np.int64)
    num = 0
    for device in range(devices.shape[0]):
        if 0.0 < devices[device].battery_j < 2000.0:
            found[num] = device
            num += 1
            if num == most:
                break
    return found[:num]


def alarms_between(faults: Sequence[Fault], begin_s: float, end_s: float) -> tuple[Alarm, ...]:
    """Alarms raised and cleared in a stretch of time; quiet faults have none."""
    alarms = []
    for fault in faults:
        if fault.kind not in _ALARMED:
            continue
        for at_s, is_cleared in ((fault.start_s, False), (fault.end_s, True)):
            if begin_s <= at_s < end_s:
                alarms.append(
                    Alarm(
                        time_s=at_s,
                        cell=fault.cell,
                        severity=fault.severity,
                        kind=str(fault.kind),
                        is_cleared=is_cleared,
                    )
                )
    return tuple(sorted(alarms, key=lambda alarm: alarm.time_s))

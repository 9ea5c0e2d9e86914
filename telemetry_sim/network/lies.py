"""What compromised devices say about themselves."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telemetry_sim.faults import Fault
    from telemetry_sim.records import DeviceColumns

EXAGGERATION = (5.0, 40.0)


def exaggerate(columns: DeviceColumns, faults: Sequence[Fault], time_s: float) -> DeviceColumns:
    """The rows with the lies in them: offered bits and backlog many times the truth."""
    for fault in faults:
        if fault.kind is FaultKind.COMPROMISED_DEVICE and fault.is_active(time_s):
            factor = EXAGGERATION[0] + (EXAGGERATION[1] - EXAGGERATION[0]) * fault.strength
            scale = np.where(np.isin(columns.device_id, fault.devices), factor, 1.0)
            columns = dataclasses.replace(
                columns, offered_bits=columns.offered_bits * scale, backlog_bits=columns.backlog_bits * scale
            )
    return columns

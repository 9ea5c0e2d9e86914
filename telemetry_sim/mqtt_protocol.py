"""What dispatcher and targets say to each other over MQTT 5: topics and documents.

Every cell has a retained desired document and a retained report. The desired document always holds the cell's whole
state, so that the newest one is enough for a target that missed others. One retained confirmation for all cells
makes what was applied on trial permanent; a target that does not hear it in time goes back by itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import BaseModel, ConfigDict, StringConstraints

from telemetry_sim.actions import ControlAction

ROOT = "edgewright/v1"
CONFIRMATION_TOPIC = f"{ROOT}/confirmation"
REPORTS_FILTER = f"{ROOT}/cells/+/reported"
PRESENCE_FILTER = f"{ROOT}/cells/+/presence"
DIGESTS_FILTER = f"{ROOT}/cells/+/digest"
ORDERS_FILTER = f"{ROOT}/cells/+/orders"
DEVICE_PRESENCE_FILTER = f"{ROOT}/devices/+/presence"
OBEYED_FILTER = f"{ROOT}/devices/+/obeyed"
ONLINE, OFFLINE = b"online", b"offline"

Version = Annotated[int, Ge(0)]
CellId = Annotated[int, Ge(0), Le(0xFFFF)]


def desired_topic(cell: int) -> str:
    return f"{ROOT}/cells/{cell}/desired"


def reported_topic(cell: int) -> str:
    return f"{ROOT}/cells/{cell}/reported"


def presence_topic(cell: int) -> str:
    return f"{ROOT}/cells/{cell}/presence"


def digest_topic(cell: int) -> str:
    return f"{ROOT}/cells/{cell}/digest"


def telemetry_topic(cell: int) -> str:
    """From the devices to their edge node."""
    return f"{ROOT}/cells/{cell}/telemetry"


def orders_topic(cell: int) -> str:
    """From an edge node to its devices."""
    return f"{ROOT}/cells/{cell}/orders"


def readings_topic(cell: int) -> str:
    """From each device of a cell to the cell's edge node."""
    return f"{ROOT}/cells/{cell}/readings"


def sensed_topic(device: int) -> str:
    """What the physics let a device measure."""
    return f"{ROOT}/devices/{device}/sensed"


def device_presence_topic(device: int) -> str:
    return f"{ROOT}/devices/{device}/presence"


def obeyed_topic(device: int) -> str:
    """What a device says it has put into force."""
    return f"{ROOT}/devices/{device}/obeyed"


def cell_of_topic(topic: str) -> int | None:
    """The cell that a topic is about; None for any other topic."""
    parts = topic.split("/")
    if len(parts) != 5 or parts[2] != "cells" or not parts[3].isascii() or not parts[3].isdigit():
        return None
    cell = int(parts[3][:6])
    return cell if cell <= 0xFFFF else None


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DesiredDocument(_Document):
    """What one cell shall run."""

    cell: CellId
    version: Version
    """The policy that last named the cell."""
    revision: Version
    """Grows with every change, a withdrawal included; a target never goes back to an older one."""
    is_confirmed: bool
    """False: apply on trial."""
    confirm_within_s: Annotated[float, Gt(0), Le(86_400)]
    """How long a trial lasts without confirmation."""
    valid_until_s: Annotated[float, Ge(0)]
    """Network time at which a new policy is due; the state stays in force after it."""
    actions: Annotated[tuple[ControlAction, ...], MaxLen(64)]


class Confirmation(_Document):
    """All policies up to this version are permanent."""

    version: Version


class ReportState(StrEnum):
    """What a target did with the desired document."""

    TRIAL = "trial"
    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    """Nobody confirmed in time."""
    REFUSED = "refused"


class ReportDocument(_Document):
    """What one cell runs."""

    cell: CellId
    version: Version
    """Of the state in force."""
    answers: Version
    """Revision of the desired document that this answers."""
    state: ReportState
    reason: Annotated[str, StringConstraints(max_length=200)] = ""


class OrderDocument(_Document):
    """What an edge node has put into force at its cell."""

    version: Version
    actions: Annotated[tuple[ControlAction, ...], MaxLen(64)]


class ReadingsDocument(_Document):
    """What one device measured in an interval."""

    device: Annotated[int, Ge(0), Le(2**31 - 1)]
    cell: CellId
    """Where it was at the end of the interval."""
    slice: Annotated[int, Ge(0), Le(255)]
    """Index into the topology's slices."""
    rows: Annotated[tuple[Annotated[tuple[float | None, ...], MaxLen(32)], ...], MaxLen(1000)]
    """Time in seconds, then READING_COLUMNS; null where the device does not know."""


class ObeyedDocument(_Document):
    """What one device has put into force."""

    device: Annotated[int, Ge(0), Le(2**31 - 1)]
    cell: CellId
    version: Version
    report_interval_s: Annotated[float, Ge(1), Le(60)]
    offload_device_pct: Annotated[int, Ge(0), Le(100)]
    ue_rate_cap_mbps: Annotated[float, Gt(0)] | None

"""What stops dispatches whatever the policy: kill switch, freeze, maintenance windows, cool-down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from annotated_types import Ge, MaxLen
from pydantic import BaseModel, ConfigDict, Strict, ValidationError, model_validator
from sqlalchemy import Connection

from agent.errors import PolicyRejected, StoreUnusable
from agent.gate.risk import Mode
from agent.store.sessions import load_switches, set_switch
from agent.store.writer import Transaction

KILLED = "the kill switch is on: nothing is dispatched but an approver's rollback until an approver turns it off"
_NAME = "gate"


class _Switch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MaintenanceWindow(_Switch):
    """A time in which some cells are left alone."""

    start_unix_s: Annotated[float, Strict(), Ge(0)]
    end_unix_s: Annotated[float, Strict(), Ge(0)]
    cells: Annotated[tuple[Annotated[int, Strict()], ...], MaxLen(10_000)] = ()
    """Empty: all cells."""

    @model_validator(mode="after")
    def _is_ordered(self) -> MaintenanceWindow:
        if self.end_unix_s <= self.start_unix_s:
            raise ValueError(f"end_unix_s {self.end_unix_s} must lie after start_unix_s {self.start_unix_s}")
        return self


class Stops(_Switch):
    """The operators' switches; kept in the store, so they outlive a restart."""

    mode: Mode = Mode.SUGGEST_ONLY
    is_killed: bool = False
    """Nothing is dispatched but an approver's rollback; not what targets missed or lost in a restart either."""
    freeze_until_unix_s: float | None = None
    """No planned change until then; a rollback passes."""
    maintenance: Annotated[tuple[MaintenanceWindow, ...], MaxLen(100)] = ()


def load_stops(connection: Connection, default: Stops) -> Stops:
    """The switches as last set; raises StoreUnusable where they can't be read, so the gate fails closed."""
    document = load_switches(connection).get(_NAME)
    if document is None:
        return default
    try:
        return Stops.model_validate(_from_json(document))
    except ValidationError as error:
        raise StoreUnusable(f"switches: {error.error_count()} faults in the stored document") from error


def save_stops(transaction: Transaction, stops: Stops, *, actor: str) -> None:
    set_switch(transaction, _NAME, stops.model_dump(mode="json"), actor=actor)


def refuse_if_stopped(stops: Stops, cells: Iterable[int], *, now_unix_s: float) -> None:
    """Raises PolicyRejected while a switch holds planned changes to these cells back."""
    if stops.is_killed:
        raise PolicyRejected(KILLED)
    if stops.freeze_until_unix_s is not None and now_unix_s < stops.freeze_until_unix_s:
        left_s = stops.freeze_until_unix_s - now_unix_s
        raise PolicyRejected(f"changes are frozen for another {left_s:.0f} s")
    touched = set(cells)
    for window in stops.maintenance:
        held = touched & set(window.cells) if window.cells else touched
        if held and window.start_unix_s <= now_unix_s < window.end_unix_s:
            raise PolicyRejected(f"cells {sorted(held)[:10]} are under maintenance until {window.end_unix_s:.0f}")


def _from_json(document: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}

"""Which network the chat is about; apart from what opens it, so that a prompt can be shown before that is read."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomOptions:
    """Which network, and how it is planned for."""

    scenario: str = "smart-city"
    seed: int = 7
    num_devices: int | None = None
    interval_s: float = 10.0
    planner: str = "llm_gated"
    policy_model: str | None = None
    is_read_only: bool = False
    """So with a server too, unless changes are allowed there."""
    server: str | None = None
    """URL of a running server to look at, instead of an embedded network."""
    token: str | None = None
    """What the server knows us by."""
    num_intervals: int = WARM_UP
    """Observed before the first question."""

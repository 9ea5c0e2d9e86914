"""What networks that stand in for real ones answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from telemetry_sim.actions import Acknowledgement, ControlAction


def acknowledged(
    actions: Sequence[ControlAction], *, policy_version: int, down: Collection[int]
) -> tuple[Acknowledgement, ...]:
    """One a cell; the cells that are down refuse."""
    return tuple(
        Acknowledgement(
            cell=cell,
            policy_version=policy_version,
            applied=cell not in down,
            reason="cell out of service" if cell in down else "",
        )
        for cell in dict.fromkeys(action.cell for action in actions)
    )

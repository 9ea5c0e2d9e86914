"""The desired state: what every (cell, slice) and every cell should run once all policies are applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from telemetry_sim.actions import ControlAction, SliceAction
from telemetry_sim.desired_state import initial_actions
from telemetry_sim.topology import SliceId, Topology

Target = tuple[int, SliceId | None]
"""Cell and slice; None for the cell's own radio settings."""


def target_of(action: ControlAction) -> Target:
    """What an action is about."""
    return (action.cell, action.slice if isinstance(action, SliceAction) else None)


def uniform_actions(topology: Topology) -> tuple[ControlAction, ...]:
    """The network's initial state, cell by cell."""
    return tuple(action for cell in topology.cells for action in initial_actions(cell.id, topology.slices))


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredState:
    """The latest action of every target, and the version that set it."""

    version: int = 0
    actions: Mapping[Target, ControlAction] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[Target, int] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def initial(cls, topology: Topology) -> DesiredState:
        return cls(actions=MappingProxyType({target_of(action): action for action in uniform_actions(topology)}))

    def after(self, actions: Iterable[ControlAction], *, version: int) -> DesiredState:
        """The state once the actions are applied; targets that they don't name keep what they have."""
        changes = {target_of(action): action for action in actions}
        return DesiredState(
            version=version,
            actions=MappingProxyType({**self.actions, **changes}),
            versions=MappingProxyType({**self.versions, **dict.fromkeys(changes, version)}),
        )

    def restoring(self, targets: Iterable[Target]) -> tuple[ControlAction, ...]:
        """The actions that bring the targets back to this state; targets that it doesn't know are left out."""
        return tuple(self.actions[target] for target in targets if target in self.actions)

    def by_cell(self, cells: Iterable[int]) -> dict[int, tuple[int, tuple[ControlAction, ...]]]:
        """For each of the cells, the last version that named it (0: none) and its actions; one pass over the state."""
        parts: dict[int, list[ControlAction]] = {cell: [] for cell in cells}
        versions = dict.fromkeys(parts, 0)
        for target, action in self.actions.items():
            if target[0] in parts:
                parts[target[0]].append(action)
                versions[target[0]] = max(versions[target[0]], self.versions.get(target, 0))
        return {cell: (versions[cell], tuple(part)) for cell, part in parts.items()}

    def of_cell(self, cell: int) -> tuple[ControlAction, ...]:
        return tuple(action for target, action in self.actions.items() if target[0] == cell)

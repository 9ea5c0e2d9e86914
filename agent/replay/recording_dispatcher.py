"""A dispatcher for recordings: every cell acknowledges, nothing is sent, because a recording can't obey."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy, check_against
from telemetry_sim.actions import Acknowledgement
from telemetry_sim.topology import Topology


class RecordingDispatcher:
    """Keeps each cell's version, so that plans in force advance as they would in a network."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._versions = dict.fromkeys((cell.id for cell in topology.cells), 0)
        self._latest = 0

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        check_against(policy, self._topology)
        if policy.version < self._latest:
            raise PolicyRejected(f"policy version {policy.version} is older than {self._latest}, which is in force")
        self._latest = policy.version
        cells = sorted({action.cell for action in policy.actions})
        self._versions.update(dict.fromkeys(cells, policy.version))
        return _outcome(policy.version, cells)

    def reconcile(self) -> DispatchOutcome | None:
        """None: every cell has applied what it was sent."""
        return None

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        del desired
        return self.dispatch(latest)

    def states(self) -> tuple[TargetState, ...]:
        return tuple(
            TargetState(cell=cell, desired_version=version, reported_version=version)
            for cell, version in self._versions.items()
        )

    def newest_version(self) -> int:
        return self._latest


def _outcome(version: int, cells: list[int]) -> DispatchOutcome:
    answers = tuple(Acknowledgement(cell=cell, policy_version=version, applied=True) for cell in cells)
    return DispatchOutcome(policy_version=version, acknowledgements=answers)

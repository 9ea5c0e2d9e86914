"""What every dispatcher offers: send a policy, hear who applied it, know desired and reported state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agent.dispatch.desired import DesiredState
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What one cell should run and what it says it runs."""

    cell: int
    desired_version: int = 0
    """Last policy that named the cell; 0 is the network's initial state."""
    reported_version: int = 0
    """Last policy that the cell applied."""
    is_online: bool = True
    reason: str = ""
    """Why the desired version is not applied, when it is not."""

    @property
    def is_settled(self) -> bool:
        return self.desired_version == self.reported_version


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchOutcome:
    """How one dispatch went; one acknowledgement per target of the policy."""

    policy_version: int
    acknowledgements: tuple[Acknowledgement, ...]
    is_reverted: bool = False
    """True where a target refused and every target went back to what it had."""

    @property
    def is_enforced(self) -> bool:
        """All targets applied this version."""
        return not self.is_reverted and all(
            answer.applied and answer.policy_version == self.policy_version for answer in self.acknowledgements
        )

    @property
    def refusals(self) -> tuple[Acknowledgement, ...]:
        return tuple(answer for answer in self.acknowledgements if not answer.applied)


class Dispatcher(Protocol):
    """Sends policies to the targets; sending the same one again changes nothing that is already applied."""

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        """Send, wait for the targets' word; raises PolicyRejected for a stale or conflicting version."""
        ...

    def reconcile(self) -> DispatchOutcome | None:
        """Send the latest policy again to targets that have not applied it; None where there are none."""
        ...

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        """After a restart: take up the stored state and send it to every target that does not report it."""
        ...

    def states(self) -> tuple[TargetState, ...]:
        """Desired and reported state of every cell, in the topology's order."""
        ...

    def newest_version(self) -> int:
        """The newest version that any target has heard of, whoever sent it; 0 where none has.

        Targets ignore older ones, so a new policy must exceed it.
        """
        ...

"""The stored state that no target was told of: it was taken up while the kill switch was on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agent.dispatch.desired import DesiredState
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.gate.stops import KILLED
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement


def unsent_states(known: Iterable[TargetState], desired: DesiredState) -> tuple[TargetState, ...]:
    """What the targets report, beside what they should run though nobody told them."""
    states = tuple(known)
    wanted = desired.by_cell(state.cell for state in states)
    return tuple(_unsent(state, wanted[state.cell][0]) for state in states)


def not_sent(policy: SchedulingPolicy, desired: DesiredState) -> DispatchOutcome:
    """An outcome that no target which a policy has named applied."""
    cells = sorted({cell for cell, _ in desired.versions})
    answers = (
        Acknowledgement(cell=cell, policy_version=policy.version, applied=False, reason=KILLED) for cell in cells
    )
    return DispatchOutcome(policy_version=policy.version, acknowledgements=tuple(answers))


def _unsent(state: TargetState, version: int) -> TargetState:
    return replace(state, desired_version=version, reason=state.reason if version == state.reported_version else KILLED)

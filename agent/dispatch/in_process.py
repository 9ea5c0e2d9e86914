"""The dispatcher that drives a network in the same process."""

from __future__ import annotations

from typing import Protocol

from agent.dispatch.desired import DesiredState, target_of
from agent.dispatch.port import DispatchOutcome, TargetState
from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy
from agent.tracing import traced
from telemetry_sim.actions import Acknowledgement, ControlAction
from telemetry_sim.errors import ActionInvalid
from telemetry_sim.topology import Topology


class ObeyingNetwork(Protocol):
    """The part of `telemetry_sim.network.Network` that a dispatcher needs."""

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        """Obey from the next step on; one acknowledgement per cell named."""
        ...


class InProcessDispatcher:
    """Applies at the interval's end, so a policy is in force from the next interval on.

    A cell that can't apply (it is out of service) keeps its place: `reconcile` sends the cell's part again.
    """

    def __init__(self, network: ObeyingNetwork, topology: Topology) -> None:
        self._network = network
        self._states = {cell.id: TargetState(cell=cell.id) for cell in topology.cells}
        self._latest: SchedulingPolicy | None = None
        self._pending: dict[int, tuple[int, tuple[ControlAction, ...]]] = {}

    @traced("dispatch")
    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        if not self._is_news(policy):
            return self.reconcile() or self._outcome()
        actions = self._with_unapplied(policy)
        answers = self._apply(actions, policy.version)
        self._latest = policy
        self._settle(actions, policy.version, answers)
        return self._outcome()

    def reconcile(self) -> DispatchOutcome | None:
        if not self._pending:
            return None
        for version in sorted({version for version, _ in self._pending.values()}):
            parts = [part for pending_version, part in self._pending.values() if pending_version == version]
            actions = tuple(action for part in parts for action in part)
            self._settle(actions, version, self._apply(actions, version))
        return self._outcome()

    def restore(self, desired: DesiredState, latest: SchedulingPolicy) -> DispatchOutcome:
        self._latest = latest
        for cell in self._states:
            changed = [action for action in desired.of_cell(cell) if desired.versions.get(target_of(action), 0)]
            if changed:
                version = max(desired.versions[target_of(action)] for action in changed)
                self._pending[cell] = (version, tuple(changed))
                self._states[cell] = TargetState(cell=cell, desired_version=version, reason="restarting")
        return self.reconcile() or self._outcome()

    def states(self) -> tuple[TargetState, ...]:
        return tuple(self._states.values())

    def newest_version(self) -> int:
        return max((state.reported_version for state in self._states.values()), default=0)

    def _is_news(self, policy: SchedulingPolicy) -> bool:
        """False for the same policy again; raises PolicyRejected for a stale or conflicting version."""
        latest = self._latest
        if latest is None or policy.version > latest.version:
            return True
        if policy.version < latest.version:
            raise PolicyRejected(f"version {policy.version} is stale: {latest.version} was dispatched already")
        if policy != latest:
            raise PolicyRejected(
                f"version {policy.version} was dispatched with another content: {latest.content_hash()}"
            )
        return False

    def _with_unapplied(self, policy: SchedulingPolicy) -> tuple[ControlAction, ...]:
        """The policy's actions, and what its cells missed before for targets that it doesn't name."""
        named = {target_of(action) for action in policy.actions}
        cells = {action.cell for action in policy.actions}
        missed = tuple(
            action
            for cell, (_, part) in self._pending.items()
            if cell in cells
            for action in part
            if target_of(action) not in named
        )
        return missed + policy.actions

    def _apply(self, actions: tuple[ControlAction, ...], version: int) -> dict[int, Acknowledgement]:
        if not actions:
            return {}
        try:
            answers = self._network.apply(actions, policy_version=version)
        except ActionInvalid as error:
            raise PolicyRejected(f"policy {version}: the network refused it: {error}") from error
        return {answer.cell: answer for answer in answers}

    def _settle(self, actions: tuple[ControlAction, ...], version: int, answers: dict[int, Acknowledgement]) -> None:
        parts: dict[int, list[ControlAction]] = {}
        for action in actions:
            parts.setdefault(action.cell, []).append(action)
        for cell, part in parts.items():
            answer = answers.get(cell) or _silence(cell, version)
            reported = version if answer.applied else self._states[cell].reported_version
            self._states[cell] = TargetState(
                cell=cell, desired_version=version, reported_version=reported, reason=answer.reason
            )
            if answer.applied:
                self._pending.pop(cell, None)
            else:
                self._pending[cell] = (version, tuple(part))

    def _outcome(self) -> DispatchOutcome:
        policy = self._latest
        if policy is None:
            return DispatchOutcome(policy_version=0, acknowledgements=())
        cells = dict.fromkeys(action.cell for action in policy.actions)
        return DispatchOutcome(
            policy_version=policy.version,
            # Built from our own values, so not checked again: there is one for every target.
            acknowledgements=tuple(
                Acknowledgement.model_construct(
                    cell=cell,
                    policy_version=policy.version,
                    applied=self._states[cell].reported_version == policy.version,
                    reason=self._states[cell].reason,
                )
                for cell in cells
            ),
        )


def _silence(cell: int, version: int) -> Acknowledgement:
    return Acknowledgement(cell=cell, policy_version=version, applied=False, reason="no acknowledgement")

"""A version that not every target obeyed at first is enforced once all of them do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from agent.dispatch.port import TargetState
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, find_status, set_policy_status
from agent.store.store import Store

_MISSED = (PolicyStatus.DISPATCHING, PolicyStatus.NOT_ENFORCED)


def note_healed(store: Store, latest: SchedulingPolicy, states: Callable[[], Iterable[TargetState]]) -> None:
    """Note the policy as enforced where that is news; nothing is written otherwise."""
    version = latest.version
    if store.read(partial(find_status, version=version)) not in _MISSED:
        return
    reported = {state.cell: state.reported_version for state in states()}
    if all(reported.get(action.cell) == version for action in latest.actions):
        enforced = PolicyStatus.ENFORCED
        store.write(lambda t: set_policy_status(t, version, enforced, actor="dispatcher", reason="healed"))

"""The desired state of now or of an earlier version, worked out from the stored policies."""

from __future__ import annotations

from functools import partial

from agent.dispatch.desired import DesiredState, target_of
from agent.errors import PolicyInvalid, StoreUnusable
from agent.store.policies import PolicyStatus, StoredPolicy, find_policy, list_policies
from agent.store.store import Store
from telemetry_sim.topology import Topology

_OBEYED = frozenset(
    {
        PolicyStatus.DISPATCHING,
        PolicyStatus.ENFORCED,
        PolicyStatus.NOT_ENFORCED,
        PolicyStatus.SUPERSEDED,
        PolicyStatus.REVERTED,
    }
)
_WERE_SENT = _OBEYED | {PolicyStatus.ABORTED}
_PAGE = 100


def stored_state(store: Store, topology: Topology) -> tuple[DesiredState, StoredPolicy | None]:
    """What the network should run now, and the latest policy of it; None in the initial state.

    A policy that was rolled back counts too: the rollback names only targets that differed from where it went.
    """
    found = _newest(store, topology, before=None)
    return _replayed(topology, found), found[-1] if found else None


def state_as_of(store: Store, topology: Topology, version: int) -> DesiredState:
    """The desired state right after a version was dispatched; raises PolicyInvalid for one that never was.

    One that was withdrawn left what there was before.
    """
    if version == 0:
        return DesiredState.initial(topology)
    stored = store.read(lambda connection: find_policy(connection, version))
    if stored is None or stored.status not in _WERE_SENT:
        state = "unknown" if stored is None else stored.status.value
        raise PolicyInvalid(f"version {version} is {state}; a rollback needs one that was dispatched")
    return _replayed(topology, _newest(store, topology, before=version + 1))


def refuse_another_network(store: Store, topology: Topology) -> None:
    """Raises StoreUnusable where the stored state is about cells or slices that the topology does not have."""
    known_cells = {cell.id for cell in topology.cells}
    known_slices = {profile.id for profile in topology.slices}
    stored, _ = stored_state(store, topology)
    cells = sorted({cell for cell, _ in stored.actions} - known_cells)
    slices = sorted(
        {str(slice_id) for _, slice_id in stored.actions if slice_id is not None and slice_id not in known_slices}
    )
    strange = [f"{kind} {ids[:10]}" for kind, ids in (("cells", cells), ("slices", slices)) if ids]
    if strange:
        raise StoreUnusable(
            f"store: what it says is in force names {' and '.join(strange)}, which this network does not have; "
            "a network of another scenario needs a store of its own (--store)"
        )


def _newest(store: Store, topology: Topology, *, before: int | None) -> list[StoredPolicy]:
    """Enough of the newest policies that were obeyed to cover every target, oldest first."""
    uncovered = set(DesiredState.initial(topology).actions)
    found: list[StoredPolicy] = []
    while uncovered:
        page = store.read(partial(list_policies, before_version=before, limit=_PAGE))
        if not page:
            break
        before = page[-1].policy.version
        for stored in page:
            if stored.status in _OBEYED:
                found.append(stored)
                uncovered -= {target_of(action) for action in stored.policy.actions}
    return found[::-1]


def _replayed(topology: Topology, policies: list[StoredPolicy]) -> DesiredState:
    state = DesiredState.initial(topology)
    for stored in policies:
        state = state.after(stored.policy.actions, version=stored.policy.version)
    return state

"""Policies that wait for a person: which could still be dispatched, and which have outlived what they were for."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, list_policies, set_policy_status
from agent.store.store import Store
from agent.store.writer import Transaction

_AT_ONCE = 1000
"""Waiting policies that are looked at; there is one as a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """The version in force and the network time, which tell a live policy from one that can't be dispatched."""

    version: int
    now_s: float
    window_s: float
    """How far the network's clock may go back and be the same network's."""

    def require_live(self, policy: SchedulingPolicy) -> None:
        """Raises PolicyRejected for a policy that expired, or was planned against another or for another network.

        One of a time to come was planned before the network, and its clock with it, began anew.
        """
        why = self._why_not_live(policy)
        if why:
            raise PolicyRejected(why)

    def newest_live(self, store: Store) -> SchedulingPolicy | None:
        """Of those that wait."""
        waiting = store.read(_list_waiting)
        return next((policy for policy in waiting if not self._why_not_live(policy)), None)

    def let_rest_lapse(self, transaction: Transaction) -> None:
        """Those that wait and are not live."""
        for policy in _list_waiting(transaction.connection):
            why = self._why_not_live(policy)
            if why:
                set_policy_status(transaction, policy.version, PolicyStatus.LAPSED, actor="gate", reason=why)

    def has_outlived(self, store: Store) -> bool:
        """Whether one that waits is not live."""
        return any(map(self._why_not_live, store.read(_list_waiting)))

    def _why_not_live(self, policy: SchedulingPolicy) -> str:
        """Empty for one that is live."""
        version = policy.version
        if self.now_s < policy.valid_from_s - self.window_s:
            return f"version {version} was planned at {policy.valid_from_s:g} s, it is {self.now_s:g} s"
        if self.now_s >= policy.valid_until_s:
            return f"version {version} expired at {policy.valid_until_s:g} s, it is {self.now_s:g} s"
        if policy.parent_version != self.version:
            return f"version {version} was planned against {policy.parent_version}, in force is {self.version}"
        return ""


def _list_waiting(connection: Connection) -> list[SchedulingPolicy]:
    """The newest first."""
    found = list_policies(connection, status=PolicyStatus.AWAITING_APPROVAL, limit=_AT_ONCE)
    return [stored.policy for stored in found]

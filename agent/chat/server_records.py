"""A running server's goals, policies and state in force, copied as the server tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.chat.server_link import ServerLink
from agent.chat.server_schedules import actions_of
from agent.control_loop import network_time_s
from agent.dispatch.desired import DesiredState, target_of
from agent.gate.gate import Gate
from agent.goal import Goal
from agent.policy import SchedulingPolicy
from agent.store.goals import OPERATOR_TYPE, StoredGoal, delete_goal, list_goals, put_goal
from agent.store.policies import IN_FORCE, PolicyStatus, find_policy, save_policy, set_policy_status
from agent.store.store import Store
from edge_preprocess.digest import EdgeDigest

if TYPE_CHECKING:
    from agent.store.writer import Transaction

_Row = dict[str, Any]
"""A policy as the server lists it."""
_LISTED = 50
"""Policies whose statuses are taken over, the newest first."""
_COPIED = 8
"""Of those, how many are copied whatever their status."""
_ACTOR = "mirror"


@dataclass(slots=True, kw_only=True)
class ServerRecords:
    """Into a store and a gate of our own, which send nothing and decide nothing."""

    link: ServerLink
    store: Store
    gate: Gate
    _copied: dict[int, PolicyStatus] = field(default_factory=dict)
    """The status of each copied version."""

    def copy(self) -> int:
        """Take over what has changed; one interval to look at."""
        goals = [_as_stored(row) for row in self.link.get("/v1/goals") if row["goal"] is not None]
        rows = self._list_policies()
        documents = {
            version: self.link.get(f"/v1/policies/{version}")["policy"]
            for version in sorted(_wanted(rows) - self._copied.keys())
        }
        known = self._copied.keys() | documents.keys()
        statuses = {int(row["version"]): PolicyStatus(row["status"]) for row in reversed(rows)}
        kept = {version: status for version, status in statuses.items() if version in known}

        def work(transaction: Transaction) -> None:
            _copy_goals(transaction, goals)
            for version, status in kept.items():
                if version in documents:
                    policy = SchedulingPolicy.model_validate(documents[version])
                    save_policy(transaction, policy, status, actor=_ACTOR)
                elif self._copied[version] is not status:
                    set_policy_status(transaction, version, status, actor=_ACTOR)

        self.store.write(work)
        self._copied |= kept
        self._follow(_in_force(rows))
        return 1

    def version_during(self, digests: Sequence[EdgeDigest]) -> int:
        """The version in force while the digests' interval ran: what was planned at its end came after it.

        A plan that was sent out long after it was made, by a person, is credited one interval too early.
        """
        latest = self.gate.policy_in_force
        if latest is None:
            return self.gate.desired.version
        return latest.version if latest.valid_from_s < network_time_s(digests) else latest.parent_version

    def _list_policies(self) -> list[_Row]:
        """The newest, then what is in force or waits where so many are newer than it."""
        page = self.link.get(f"/v1/policies?limit={_LISTED}")
        rows: list[_Row] = page["items"]
        if page["next"] is None or _in_force(rows) is not None:
            return rows
        oldest = rows[-1]["version"]
        for status in (*IN_FORCE, PolicyStatus.AWAITING_APPROVAL):
            found = self.link.get(f"/v1/policies?status={status.value}&limit=1")["items"]
            rows += [row for row in found if row["version"] < oldest]
        return sorted(rows, key=lambda row: -int(row["version"]))

    def _follow(self, row: _Row | None) -> None:
        """The state that the server has in force; it changes with the version alone."""
        version = 0 if row is None else int(row["version"])
        if version == self.gate.desired.version:
            return
        actions = [action for schedule in self.link.get("/v1/schedules") for action in actions_of(schedule)]
        desired = DesiredState(version=version, actions=MappingProxyType({target_of(each): each for each in actions}))
        stored = self.store.read(lambda connection: find_policy(connection, version))
        self.gate.follow(desired, None if stored is None else stored.policy)


def _in_force(rows: Sequence[_Row]) -> _Row | None:
    """The newest of them that is."""
    return next((row for row in rows if PolicyStatus(row["status"]) in IN_FORCE), None)


def _wanted(rows: Sequence[_Row]) -> set[int]:
    """Versions whose content is needed: the newest, what is in force, and what waits."""
    awaiting = next((row for row in rows if row["status"] == PolicyStatus.AWAITING_APPROVAL.value), None)
    needed = [*rows[:_COPIED], _in_force(rows), awaiting]
    return {int(row["version"]) for row in needed if row is not None}


def _copy_goals(transaction: Transaction, goals: Sequence[StoredGoal]) -> None:
    wanted = {goal.key for goal in goals}
    for stored in list_goals(transaction.connection):
        if stored.key not in wanted:
            delete_goal(transaction, *stored.key, actor=_ACTOR)
    for goal in goals:
        put_goal(transaction, goal, actor=_ACTOR)


def _as_stored(row: _Row) -> StoredGoal:
    goal = Goal.model_validate(row["goal"])
    # What came over A1-P may have the id of an operator's goal.
    kind = row["policy_type"] or OPERATOR_TYPE
    return StoredGoal(policy_type=kind, id=row["id"], document=goal.model_dump_json(), goal=goal)

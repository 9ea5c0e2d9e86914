"""Goals: operators' own and those that came over A1-P, with their documents and enforcement status."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import ValidationError
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from agent.goal import Goal
from agent.store.tables import GOALS
from agent.store.writer import Transaction

OPERATOR_TYPE = ""
"""The policy type of goals that did not come over A1-P."""


_IS_KEY = (GOALS.c.policy_type == bindparam("key_type")) & (GOALS.c.id == bindparam("key_id"))
# Built once: a PUT is answered when it is durable, and building statements is most of what it costs.
_FIND = select(GOALS).where(_IS_KEY)
_FIND_REVISION = select(GOALS.c.revision).where(_IS_KEY)
_INSERT = insert(GOALS)
_UPDATE = update(GOALS).where(_IS_KEY)
_UPDATE_STATUS = _UPDATE.where(
    (GOALS.c.revision == bindparam("key_revision")) & (GOALS.c.created_us == bindparam("key_created_us"))
)
_DELETE = delete(GOALS).where(_IS_KEY)

Check = Callable[[int | None], None]
"""Sees the revision that a change replaces, None where there is none, and raises where it is not the expected one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGoal:
    """A goal and where it came from."""

    policy_type: str
    id: str
    document: str
    """The request's own JSON, given back as it came."""
    goal: Goal | None
    """None where the document can't be turned into one."""
    notification_destination: str = ""
    status: str = "NOT_ENFORCED"
    reason: str = ""
    revision: int = 1
    created_us: int = 0
    updated_us: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return (self.policy_type, self.id)

    def says_same_as(self, other: StoredGoal) -> bool:
        """Whether both ask for the same, whoever is to be told of it and in whatever order it is written."""
        if self.goal != other.goal:
            return False
        return self.document == other.document or json.loads(self.document) == json.loads(other.document)


def put_goal(
    transaction: Transaction, wanted: StoredGoal, *, actor: str, check: Check | None = None
) -> tuple[StoredGoal, bool]:
    """Create or replace; returns what is kept and whether it is new.

    A goal that says the same as the one that it replaces keeps that one's status and reason.
    """
    now_us = transaction.now_us()
    known = find_goal(transaction.connection, *wanted.key)
    if check is not None:
        check(None if known is None else known.revision)
    if known is None:
        kept = replace(wanted, revision=1, created_us=now_us, updated_us=now_us)
        transaction.connection.execute(_INSERT, _row(kept))
    else:
        kept = replace(wanted, revision=known.revision + 1, created_us=known.created_us, updated_us=now_us)
        if known.goal is not None and known.says_same_as(wanted):
            kept = replace(kept, status=known.status, reason=known.reason)
        transaction.connection.execute(_UPDATE, _row(kept) | _key(*wanted.key))
    body = {"type": kept.policy_type, "id": kept.id, "revision": kept.revision, "document": kept.document}
    transaction.audit("goal_put", actor=actor, body=body)
    # What can't be heeded at all never becomes anything else; all others begin as waiting.
    is_news = kept.goal is None if known is None else (known.status, known.reason) != (kept.status, kept.reason)
    if is_news:
        _audit_status(transaction, kept, actor=actor)
    return kept, known is None


def delete_goal(
    transaction: Transaction, policy_type: str, goal_id: str, *, actor: str, check: Check | None = None
) -> bool:
    """False where there was none."""
    if check is not None:
        known = transaction.connection.execute(_FIND_REVISION, _key(policy_type, goal_id)).one_or_none()
        check(None if known is None else known.revision)
    gone = transaction.connection.execute(_DELETE, _key(policy_type, goal_id))
    if gone.rowcount != 1:
        return False
    transaction.audit("goal_deleted", actor=actor, body={"type": policy_type, "id": goal_id})
    return True


def set_goal_status(transaction: Transaction, goal: StoredGoal, *, actor: str) -> bool:
    """Keep the goal's status and reason; False where this revision of it is gone meanwhile."""
    values = {"status": goal.status, "reason": goal.reason, **_key(*goal.key)}
    changed = transaction.connection.execute(
        _UPDATE_STATUS, values | {"key_revision": goal.revision, "key_created_us": goal.created_us}
    )
    if changed.rowcount != 1:
        return False
    _audit_status(transaction, goal, actor=actor)
    return True


def find_goal(connection: Connection, policy_type: str, goal_id: str) -> StoredGoal | None:
    row = connection.execute(_FIND, _key(policy_type, goal_id)).mappings().one_or_none()
    return None if row is None else _stored(dict(row))


def list_goals(connection: Connection, *, policy_type: str | None = None) -> list[StoredGoal]:
    """In the order in which they were created."""
    query = select(GOALS).order_by(GOALS.c.created_us, GOALS.c.policy_type, GOALS.c.id)
    if policy_type is not None:
        query = query.where(GOALS.c.policy_type == policy_type)
    return [_stored(dict(row)) for row in connection.execute(query).mappings()]


def _audit_status(transaction: Transaction, goal: StoredGoal, *, actor: str) -> None:
    body = {"type": goal.policy_type, "id": goal.id, "status": goal.status, "reason": goal.reason}
    transaction.audit("goal_status", actor=actor, body=body)


def _key(policy_type: str, goal_id: str) -> dict[str, str]:
    return {"key_type": policy_type, "key_id": goal_id}


def _row(stored: StoredGoal) -> dict[str, object]:
    row = {name: getattr(stored, name) for name in StoredGoal.__slots__}
    row["goal"] = "" if stored.goal is None else stored.goal.model_dump_json()
    return row


def _stored(row: dict[str, object]) -> StoredGoal:
    goal = _goal_of(str(row.pop("goal")))
    return StoredGoal(**row, goal=goal)  # type: ignore[arg-type]  # a row of the table that _row wrote


def _goal_of(text: str) -> Goal | None:
    """None also for one that an earlier version let in, such as a goal without expectations."""
    try:
        return Goal.model_validate_json(text) if text else None
    except ValidationError:
        return None

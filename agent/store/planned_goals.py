"""The goals that each version was planned with, by their content: what it heeds, also after a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from agent.goal import Goal
from agent.store.tables import PLANNED_GOALS
from agent.store.writer import Transaction


def goal_digest(goal: Goal) -> str:
    """32 hex digits that stand for all that a goal says, its id included."""
    # Without defaults, so that a field that a later version adds changes no goal that leaves it alone.
    return hashlib.sha256(goal.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:32]


def save_planned_goals(transaction: Transaction, version: int, digests: Iterable[str]) -> None:
    """Note what a version was planned with, by `goal_digest`; the first word on a version stands."""
    connection, column = transaction.connection, PLANNED_GOALS.c
    if connection.execute(select(column.version).where(column.version == version)).one_or_none() is not None:
        return
    goals = " ".join(sorted(digests))
    goals_hash = hashlib.sha256(goals.encode()).hexdigest()
    same = select(column.version).where(column.goals_hash == goals_hash).limit(1)
    # Most versions heed the same goals as the one before, and there may be thousands: they are written once.
    is_known = connection.execute(same).one_or_none() is not None
    row = {"version": version, "goals_hash": goals_hash, "goals": None if is_known else goals}
    connection.execute(insert(PLANNED_GOALS).values(**row))


def find_planned_goals(connection: Connection, version: int) -> frozenset[str] | None:
    """Digests of what a version was planned with; None where nobody noted it."""
    column = PLANNED_GOALS.c
    goals_hash = connection.execute(select(column.goals_hash).where(column.version == version)).scalar()
    if goals_hash is None:
        return None
    written = select(column.goals).where(column.goals_hash == goals_hash, column.goals.is_not(None)).limit(1)
    return frozenset(str(connection.execute(written).scalar() or "").split())

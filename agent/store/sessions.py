"""Small documents by name: chat sessions and operator switches."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, insert, select, update

from agent.store.audit_trail import canonical_json
from agent.store.tables import SESSIONS, SWITCHES
from agent.store.writer import Transaction


def save_session(transaction: Transaction, session_id: str, document: Mapping[str, object]) -> None:
    """Create or replace a chat session."""
    now_us = transaction.now_us()
    text = canonical_json(document)
    changed = transaction.connection.execute(
        update(SESSIONS).where(SESSIONS.c.id == session_id).values(document=text, updated_us=now_us)
    )
    if changed.rowcount == 0:
        row = {"id": session_id, "document": text, "created_us": now_us, "updated_us": now_us}
        transaction.connection.execute(insert(SESSIONS).values(**row))


def load_session(connection: Connection, session_id: str) -> dict[str, object] | None:
    text = connection.execute(select(SESSIONS.c.document).where(SESSIONS.c.id == session_id)).scalar()
    return None if text is None else dict(json.loads(text))


def list_sessions(connection: Connection, *, limit: int = 50) -> list[str]:
    """Ids, the latest used first."""
    query = select(SESSIONS.c.id).order_by(SESSIONS.c.updated_us.desc()).limit(limit)
    return list(connection.execute(query).scalars())


def count_sessions(connection: Connection, owner: str) -> int:
    """Sessions whose ids begin with the owner's name and a slash."""
    is_theirs = SESSIONS.c.id.startswith(f"{owner}/", autoescape=True)
    return int(connection.execute(select(func.count()).select_from(SESSIONS).where(is_theirs)).scalar_one())


def delete_session(transaction: Transaction, session_id: str) -> bool:
    return transaction.connection.execute(delete(SESSIONS).where(SESSIONS.c.id == session_id)).rowcount == 1


def set_switch(transaction: Transaction, name: str, document: Mapping[str, object], *, actor: str) -> None:
    """Create or replace a switch such as kill_switch; every change is in the trail."""
    now_us = transaction.now_us()
    text = canonical_json(document)
    changed = transaction.connection.execute(
        update(SWITCHES).where(SWITCHES.c.name == name).values(document=text, updated_us=now_us)
    )
    if changed.rowcount == 0:
        transaction.connection.execute(insert(SWITCHES).values(name=name, document=text, updated_us=now_us))
    transaction.audit("switch_set", actor=actor, body={"name": name, "document": dict(document)})


def load_switches(connection: Connection) -> dict[str, dict[str, object]]:
    rows = connection.execute(select(SWITCHES.c.name, SWITCHES.c.document))
    return {row.name: json.loads(row.document) for row in rows}

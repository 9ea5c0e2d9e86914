"""Decisions with their evidence: what was seen, asked, answered, checked, foreseen and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, func, insert, select

from agent.store.audit_trail import canonical_json
from agent.store.tables import DECISIONS
from agent.store.writer import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """All that is needed to replay and to judge one decision."""

    time_s: float
    """Network time at the decision."""
    planner: str
    digest_hash: str
    """SHA-256 over the digests' canonical JSON."""
    policy_version: int | None = None
    """None where no policy came of it."""
    model: str = ""
    adapter: str = ""
    prompt_template: str = ""
    prompt_hash: str = ""
    raw_answer: str = ""
    """The model's bytes, before any repair."""
    validation: Mapping[str, object] = field(default_factory=dict)
    """Result of every check of the gate, by name."""
    forecast: Mapping[str, object] = field(default_factory=dict)
    """What the twin foresaw."""
    outcome: Mapping[str, object] = field(default_factory=dict)
    """dispatched, rejected, awaiting_approval … and why."""
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDecision:
    """A decision as it was kept."""

    id: int
    created_us: int
    record: DecisionRecord


def save_decision(transaction: Transaction, record: DecisionRecord, *, actor: str) -> int:
    """Keep a decision; returns its number."""
    document = canonical_json(asdict(record))
    document_hash = hashlib.sha256(document.encode()).hexdigest()
    result = transaction.connection.execute(
        insert(DECISIONS).values(
            created_us=transaction.now_us(),
            policy_version=record.policy_version,
            planner=record.planner,
            digest_hash=record.digest_hash,
            document=document,
            document_hash=document_hash,
        )
    )
    key = result.inserted_primary_key
    decision_id = int(key[0]) if key is not None else 0
    body = {
        "id": decision_id,
        "document_hash": document_hash,
        "policy_version": record.policy_version,
        "digest_hash": record.digest_hash,
    }
    transaction.audit("decision_saved", actor=actor, body=body)
    return decision_id


def count_decisions(connection: Connection) -> int:
    """How many are kept."""
    return int(connection.execute(select(func.count()).select_from(DECISIONS)).scalar_one())


def list_decisions(
    connection: Connection, *, policy_version: int | None = None, before_id: int | None = None, limit: int = 50
) -> list[StoredDecision]:
    """The newest first."""
    query = select(DECISIONS).order_by(DECISIONS.c.id.desc()).limit(limit)
    if policy_version is not None:
        query = query.where(DECISIONS.c.policy_version == policy_version)
    if before_id is not None:
        query = query.where(DECISIONS.c.id < before_id)
    return [
        StoredDecision(id=row["id"], created_us=row["created_us"], record=DecisionRecord(**json.loads(row["document"])))
        for row in connection.execute(query).mappings()
    ]

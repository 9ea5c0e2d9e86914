"""API tokens, hashed at rest, and idempotency keys."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from agent.errors import AgentInputInvalid
from agent.store.audit_trail import canonical_json
from agent.store.tables import IDEMPOTENCY, TOKENS
from agent.store.writer import Transaction

ROLES = ("viewer", "operator", "approver")
_KEY_LIFETIME_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOwner:
    """Who a token belongs to."""

    name: str
    role: str


def hash_token(token: str) -> str:
    """What is stored: tokens carry 256 random bits, so an unsalted hash can't be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_token(transaction: Transaction, *, name: str, role: str, lifetime_s: float | None, actor: str) -> str:
    """A new token, shown once; raises AgentInputInvalid."""
    if role not in ROLES:
        raise AgentInputInvalid(f"role {role!r}: expected one of {', '.join(ROLES)}")
    token = "ew_" + secrets.token_urlsafe(32)
    keep_token(transaction, token, name=name, role=role, lifetime_s=lifetime_s, actor=actor)
    return token


def keep_token(
    transaction: Transaction, token: str, *, name: str, role: str, lifetime_s: float | None, actor: str
) -> None:
    """Keep a token that the operator chose."""
    now_us = transaction.now_us()
    expires_us = None if lifetime_s is None else now_us + int(lifetime_s * 1e6)
    token_hash = hash_token(token)
    transaction.connection.execute(delete(TOKENS).where(TOKENS.c.token_hash == token_hash))
    row = {"token_hash": token_hash, "name": name, "role": role, "created_us": now_us, "expires_us": expires_us}
    transaction.connection.execute(insert(TOKENS).values(**row))
    transaction.audit("token_created", actor=actor, body={"name": name, "role": role})


def revoke_tokens(transaction: Transaction, *, name: str, actor: str) -> int:
    """How many tokens of that name are gone."""
    gone = transaction.connection.execute(delete(TOKENS).where(TOKENS.c.name == name)).rowcount
    transaction.audit("token_revoked", actor=actor, body={"name": name, "count": gone})
    return gone


def owner_of(connection: Connection, token: str, *, now_us: int) -> TokenOwner | None:
    row = connection.execute(select(TOKENS).where(TOKENS.c.token_hash == hash_token(token))).mappings().one_or_none()
    if row is None or (row["expires_us"] is not None and row["expires_us"] <= now_us):
        return None
    return TokenOwner(name=row["name"], role=row["role"])


def has_tokens(connection: Connection) -> bool:
    return connection.execute(select(TOKENS.c.token_hash).limit(1)).first() is not None


def remember_response(
    transaction: Transaction, key: str, fingerprint: str, response: Mapping[str, object]
) -> dict[str, object] | None:
    """Keep the response to an idempotency key; the earlier one where the key was used before.

    Raises AgentInputInvalid where the key came with another request.
    """
    now_us = transaction.now_us()
    transaction.connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.created_us < now_us - _KEY_LIFETIME_US))
    known = recall_response(transaction.connection, key, fingerprint)
    if known is not None:
        return known
    row = {"key": key, "fingerprint": fingerprint, "response": canonical_json(response), "created_us": now_us}
    transaction.connection.execute(insert(IDEMPOTENCY).values(**row))
    return None


def recall_response(connection: Connection, key: str, fingerprint: str) -> dict[str, object] | None:
    row = connection.execute(select(IDEMPOTENCY).where(IDEMPOTENCY.c.key == key)).mappings().one_or_none()
    if row is None:
        return None
    if row["fingerprint"] != fingerprint:
        raise AgentInputInvalid(f"idempotency key {key!r} was used with another request")
    return dict(json.loads(row["response"]))

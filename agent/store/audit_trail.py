"""The hash-chained audit trail: each entry's hash covers its content and the entry before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, insert, select, update

from agent.errors import StoreUnusable
from agent.store.tables import AUDIT, AUDIT_HEAD, DECISIONS, POLICIES

GENESIS_HASH = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that happened, by whom."""

    seq: int
    """1, 2, 3 … without gaps."""
    time_us: int
    kind: str
    """A fixed word such as policy_dispatched."""
    actor: str
    body: str
    """Canonical JSON."""
    previous_hash: str
    hash: str

    def expected_hash(self) -> str:
        """SHA-256 over every other field, with unambiguous borders."""
        fields = [self.seq, self.time_us, self.kind, self.actor, self.body, self.previous_hash]
        # Text that was tampered into bytes must have a hash too, so that it is found not to match.
        return hashlib.sha256(json.dumps(fields, ensure_ascii=True, default=repr).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFault:
    """A place where the trail does not hold."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The result of verifying a trail."""

    num_entries: int
    head_hash: str
    faults: tuple[AuditFault, ...]

    @property
    def is_intact(self) -> bool:
        return not self.faults


class AuditTail:
    """Appends to the chain inside one transaction; the head row's lock keeps other writers out until it ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        head = connection.execute(select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash).with_for_update()).one()
        self._seq, self._hash = int(head.seq), str(head.hash)
        self._entries: list[AuditEntry] = []

    def append(self, kind: str, *, actor: str, body: Mapping[str, object], time_us: int) -> None:
        text = canonical_json(body)
        draft = AuditEntry(
            seq=self._seq + 1,
            time_us=time_us,
            kind=kind,
            actor=actor[:64],
            body=text,
            previous_hash=self._hash,
            hash="",
        )
        self._seq, self._hash = draft.seq, draft.expected_hash()
        self._entries.append(_with_hash(draft, self._hash))

    def flush(self) -> None:
        """Write what was appended; to be called once, right before the commit."""
        if not self._entries:
            return
        self._connection.execute(insert(AUDIT), [_row(entry) for entry in self._entries])
        self._connection.execute(update(AUDIT_HEAD).values(seq=self._seq, hash=self._hash))
        self._entries.clear()


def canonical_json(body: object) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def read_trail(connection: Connection, *, after_seq: int = 0, limit: int | None = None) -> Iterator[AuditEntry]:
    """The entries in order."""
    query = select(AUDIT).where(AUDIT.c.seq > after_seq).order_by(AUDIT.c.seq).limit(limit)
    for row in connection.execution_options(yield_per=1000).execute(query).mappings():
        yield AuditEntry(**row)


def verify_trail(connection: Connection, *, anchor: str | None = None) -> AuditReport:
    """Recompute the chain from the first entry, and the documents whose hashes it holds.

    `anchor` is a head hash noted earlier: it must occur, so that a trail cut short and re-chained is found too.
    """
    faults: list[AuditFault] = []
    previous, num_entries, is_anchored = GENESIS_HASH, 0, anchor in (None, GENESIS_HASH)
    promised: dict[str, str] = {}
    for entry in read_trail(connection):
        num_entries += 1
        faults += _faults_of(entry, expected_seq=num_entries, previous_hash=previous)
        previous = entry.hash
        is_anchored = is_anchored or entry.hash == anchor
        promised.update(_promised_documents(entry))
    head = connection.execute(select(AUDIT_HEAD)).mappings().one_or_none()
    if head is None or (head["seq"], head["hash"]) != (num_entries, previous):
        faults.append(AuditFault(seq=num_entries, what=f"the head says {dict(head or {})}, the chain ends here"))
    if not is_anchored:
        faults.append(AuditFault(seq=num_entries, what=f"the anchor {anchor!r} does not occur in the trail"))
    faults += _document_faults(connection, promised)
    return AuditReport(num_entries=num_entries, head_hash=previous, faults=tuple(faults))


def require_intact(connection: Connection) -> None:
    """Raises StoreUnusable where the trail's end does not match its head: cheap enough for every start."""
    head = connection.execute(select(AUDIT_HEAD)).mappings().one_or_none()
    last = connection.execute(select(AUDIT).order_by(AUDIT.c.seq.desc()).limit(1)).mappings().one_or_none()
    expected = (last["seq"], last["hash"]) if last else (0, GENESIS_HASH)
    if head is None or (head["seq"], head["hash"]) != expected:
        raise StoreUnusable(f"audit trail: head is {dict(head or {})}, the last entry is {expected}")


def _faults_of(entry: AuditEntry, *, expected_seq: int, previous_hash: str) -> list[AuditFault]:
    faults = []
    if entry.seq != expected_seq:
        faults.append(AuditFault(seq=entry.seq, what=f"sequence number {entry.seq}, expected {expected_seq}"))
    if entry.previous_hash != previous_hash:
        faults.append(AuditFault(seq=entry.seq, what="previous_hash is not the hash of the entry before"))
    if entry.hash != entry.expected_hash():
        faults.append(AuditFault(seq=entry.seq, what="the content does not match the hash"))
    return faults


def _promised_documents(entry: AuditEntry) -> dict[str, str]:
    """Hashes of the documents that an entry vouches for, by where they are stored."""
    if entry.kind not in ("policy_saved", "decision_saved"):
        return {}
    try:
        body = json.loads(entry.body)
        return {f"{entry.kind}/{body['id']}": str(body["document_hash"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _document_faults(connection: Connection, promised: dict[str, str]) -> list[AuditFault]:
    faults = []
    for kind, table, key in (
        ("policy_saved", POLICIES, POLICIES.c.version),
        ("decision_saved", DECISIONS, DECISIONS.c.id),
    ):
        rows = connection.execute(select(key.label("ident"), table.c.document))
        found = {str(row.ident): str(row.document) for row in rows}
        for name, document_hash in promised.items():
            prefix, _, ident = name.partition("/")
            if prefix != kind:
                continue
            document = found.pop(ident, None)
            if document is None or hashlib.sha256(document.encode()).hexdigest() != document_hash:
                faults.append(AuditFault(seq=0, what=f"{table.name} {ident}: the document is missing or changed"))
        faults += [AuditFault(seq=0, what=f"{table.name} {ident}: not in the trail") for ident in found]
    return faults


def _with_hash(draft: AuditEntry, digest: str) -> AuditEntry:
    return replace(draft, hash=digest)


def _row(entry: AuditEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in AuditEntry.__slots__}

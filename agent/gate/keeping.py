"""How a policy is kept in the store until it is decided on, and what became of it."""

from __future__ import annotations

from agent.dispatch.port import DispatchOutcome
from agent.errors import PolicyInvalid, PolicyRejected
from agent.policy import SchedulingPolicy
from agent.store.policies import (
    PolicyStatus,
    StoredPolicy,
    find_policy,
    let_waiting_lapse,
    save_policy,
    set_policy_status,
    supersede_before,
)
from agent.store.writer import Transaction


def keep_proposed(transaction: Transaction, policy: SchedulingPolicy, *, actor: str) -> StoredPolicy:
    """The policy as it is kept, proposed where it is new; raises PolicyRejected where it was decided on already."""
    save_policy(transaction, policy, PolicyStatus.PROPOSED, actor=actor)
    stored = find_policy(transaction.connection, policy.version)
    if stored is None or stored.status not in (PolicyStatus.PROPOSED, PolicyStatus.AWAITING_APPROVAL):
        state = "unknown" if stored is None else stored.status.value
        raise PolicyRejected(f"version {policy.version} is {state} already")
    return stored


def keep_waiting(transaction: Transaction, policy: SchedulingPolicy, *, actor: str) -> None:
    """As awaiting approval; raises PolicyRejected where it was decided on already."""
    if keep_proposed(transaction, policy, actor=actor).status is PolicyStatus.PROPOSED:
        set_policy_status(transaction, policy.version, PolicyStatus.AWAITING_APPROVAL, actor=actor)


def note_refusal(transaction: Transaction, policy: SchedulingPolicy, reason: str, *, actor: str) -> None:
    """In the audit trail only: what was refused is not kept."""
    body = {"version": policy.version, "content_hash": policy.content_hash(), "reason": reason[:500]}
    transaction.audit("policy_refused", actor=actor, body=body)


def keep_rollback(transaction: Transaction, policy: SchedulingPolicy, *, actor: str) -> None:
    """As dispatching; what waits was planned against what is rolled back."""
    save_policy(transaction, policy, PolicyStatus.DISPATCHING, actor=actor)
    let_waiting_lapse(transaction, actor=actor)


def require_waiting(transaction: Transaction, version: int, *, policy_hash: str) -> SchedulingPolicy:
    """The policy of that version; raises PolicyInvalid unless it has this very content and awaits approval."""
    stored = find_policy(transaction.connection, version)
    if stored is None:
        raise PolicyInvalid(f"version {version} is unknown")
    if stored.content_hash != policy_hash:
        raise PolicyInvalid(f"version {version} has hash {stored.content_hash}, got {policy_hash!r}")
    if stored.status is not PolicyStatus.AWAITING_APPROVAL:
        raise PolicyInvalid(f"version {version} is {stored.status.value}, not awaiting_approval")
    return stored.policy


def reject_undecided(transaction: Transaction, version: int, *, actor: str, reason: str) -> None:
    """Raises PolicyInvalid for a version that is neither proposed nor awaits approval."""
    stored = find_policy(transaction.connection, version)
    if stored is None or stored.status not in (PolicyStatus.PROPOSED, PolicyStatus.AWAITING_APPROVAL):
        state = "unknown" if stored is None else stored.status.value
        raise PolicyInvalid(f"version {version} is {state}, not proposed or awaiting_approval")
    set_policy_status(transaction, version, PolicyStatus.REJECTED, actor=actor, reason=reason)


def note_outcome(
    transaction: Transaction,
    policy: SchedulingPolicy,
    outcome: DispatchOutcome,
    *,
    actor: str,
    undone: tuple[int, str] | None = None,
) -> None:
    """What became of the policy, of the version that it undoes and why, and of those that it follows."""
    status = PolicyStatus.ENFORCED if outcome.is_enforced else PolicyStatus.NOT_ENFORCED
    if outcome.is_reverted:
        status = PolicyStatus.ABORTED
    why = "; ".join(f"cell {answer.cell}: {answer.reason}" for answer in outcome.refusals[:5])
    set_policy_status(transaction, policy.version, status, actor=actor, reason=why)
    if outcome.is_reverted:
        return
    if undone is not None:
        set_policy_status(transaction, undone[0], PolicyStatus.REVERTED, actor=actor, reason=undone[1])
    supersede_before(transaction, policy.version, actor=actor)

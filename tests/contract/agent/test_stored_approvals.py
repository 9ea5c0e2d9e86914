"""An approval serves once, for one policy, for as long as it lives, in every database."""

from __future__ import annotations

import pytest

from agent.errors import AgentInputInvalid
from agent.store.approvals import grant_approval, list_approvals, use_approval, withdraw_approval
from agent.store.audit_trail import read_trail


def test_an_approval_serves_once(store):
    store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    assert store.write(lambda t: use_approval(t, "a" * 64)).approver == "ann"
    assert store.write(lambda t: use_approval(t, "a" * 64)) is None


def test_an_approval_that_is_withdrawn_serves_no_more(store):
    granted = store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    for is_ended in (True, False):
        assert store.write(lambda t: withdraw_approval(t, granted.id, actor="ann", reason="frozen")) is is_ended
    assert store.write(lambda t: use_approval(t, "a" * 64)) is None
    assert [entry.kind for entry in store.read(lambda c: list(read_trail(c)))][-1] == "approval_withdrawn"


def test_an_approval_that_was_used_is_not_withdrawn(store):
    granted = store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    store.write(lambda t: use_approval(t, "a" * 64))
    assert not store.write(lambda t: withdraw_approval(t, granted.id, actor="ann", reason="frozen"))


def test_an_approval_is_for_one_policy_only(store):
    store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    assert store.write(lambda t: use_approval(t, "b" * 64)) is None


def test_an_approval_expires(store, clock):
    store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    clock.now_s += 60
    assert store.write(lambda t: use_approval(t, "a" * 64)) is None


def test_a_clock_that_jumps_back_revives_nothing(store, clock):
    store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    clock.now_s -= 3600
    assert store.write(lambda t: use_approval(t, "a" * 64)) is None


@pytest.mark.parametrize(
    ("approver", "reason", "lifetime_s"),
    [("", "why", 60), ("ann", " ", 60), ("ann", "why", 0), ("ann", "why", 1e9), ("ann", "why", float("nan"))],
)
def test_an_approval_without_who_why_or_end_is_refused(store, approver, reason, lifetime_s):
    with pytest.raises(AgentInputInvalid):
        store.write(lambda t: grant_approval(t, "a" * 64, approver=approver, reason=reason, lifetime_s=lifetime_s))
    assert store.read(list_approvals) == []


def test_one_approval_serves_one_of_many_concurrent_users(store):
    store.write(lambda t: grant_approval(t, "a" * 64, approver="ann", reason="looks right", lifetime_s=60))
    futures = [store.submit(lambda t: use_approval(t, "a" * 64)) for _ in range(50)]
    assert sum(future.result() is not None for future in futures) == 1

"""One suite for every database."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, inspect, text

from agent.errors import AgentInputInvalid, PolicyInvalid, StoreUnusable
from agent.goal import Expectation, Goal, TargetMetric
from agent.policy import SchedulingPolicy
from agent.store.audit_trail import read_trail, verify_trail
from agent.store.decisions import DecisionRecord, count_decisions, list_decisions, save_decision
from agent.store.engine import open_engine
from agent.store.goals import StoredGoal, delete_goal, find_goal, list_goals, put_goal, set_goal_status
from agent.store.policies import (
    PolicyStatus,
    find_policy,
    list_policies,
    next_version,
    save_policy,
    set_policy_status,
)
from agent.store.sessions import load_session, load_switches, save_session, set_switch
from agent.store.store import Store
from agent.store.tokens import create_token, has_tokens, owner_of, recall_response, remember_response, revoke_tokens
from telemetry_sim.actions import SliceAction
from telemetry_sim.topology import SliceId


def policy(version: int = 1, pct: int = 50) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1,
        planner="optimiser",
        valid_from_s=0,
        valid_until_s=10,
        actions=(SliceAction(cell=1, slice=SliceId(sst=1), min_pct=pct),),
    )


def test_a_saved_policy_comes_back_with_its_hash_and_status(store):
    content_hash = store.write(lambda t: save_policy(t, policy(), PolicyStatus.PROPOSED, actor="loop"))
    found = store.read(lambda c: find_policy(c, 1))
    assert found.policy == policy()
    assert found.content_hash == content_hash == policy().content_hash()
    assert found.status is PolicyStatus.PROPOSED


def test_a_version_that_no_column_holds_is_unknown(store):
    assert store.read(lambda c: find_policy(c, 10**30)) is None


def test_saving_the_same_policy_again_changes_nothing(store):
    for _ in range(2):
        store.write(lambda t: save_policy(t, policy(), PolicyStatus.PROPOSED, actor="loop"))
    assert len(store.read(list_policies)) == 1


def test_a_version_belongs_to_one_policy(store):
    store.write(lambda t: save_policy(t, policy(pct=50), PolicyStatus.PROPOSED, actor="loop"))
    with pytest.raises(PolicyInvalid, match="taken"):
        store.write(lambda t: save_policy(t, policy(pct=51), PolicyStatus.PROPOSED, actor="loop"))


def test_versions_count_up_from_what_is_stored(store):
    assert store.read(next_version) == 1
    store.write(lambda t: save_policy(t, policy(7), PolicyStatus.PROPOSED, actor="loop"))
    assert store.read(next_version) == 8


def test_policies_are_filtered_and_paged_newest_first(store):
    for version in range(1, 6):
        store.write(lambda t, v=version: save_policy(t, policy(v), PolicyStatus.PROPOSED, actor="loop"))
    store.write(lambda t: set_policy_status(t, 2, PolicyStatus.ENFORCED, actor="loop"))
    assert [p.policy.version for p in store.read(lambda c: list_policies(c, limit=2))] == [5, 4]
    assert [p.policy.version for p in store.read(lambda c: list_policies(c, before_version=3))] == [2, 1]
    enforced = store.read(lambda c: list_policies(c, status=PolicyStatus.ENFORCED))
    assert [p.policy.version for p in enforced] == [2]


def test_the_status_of_an_unknown_policy_cannot_be_set(store):
    with pytest.raises(PolicyInvalid, match="unknown"):
        store.write(lambda t: set_policy_status(t, 9, PolicyStatus.ENFORCED, actor="loop"))


def test_a_decision_comes_back_with_all_its_evidence(store):
    record = DecisionRecord(
        time_s=30.0,
        planner="llm",
        digest_hash="d" * 64,
        policy_version=3,
        model="small",
        raw_answer='{"a":1}',
        validation={"schema": "ok"},
        forecast={"utility": [0.5, 0.6]},
        outcome={"status": "rejected"},
        latency_s=0.2,
    )
    store.write(lambda t: save_decision(t, record, actor="loop"))
    (found,) = store.read(lambda c: list_decisions(c, policy_version=3))
    assert found.record == record


def test_every_decision_is_counted(store):
    record = DecisionRecord(time_s=30.0, planner="llm", digest_hash="d" * 64)
    assert store.read(count_decisions) == 0
    store.write(lambda t: [save_decision(t, record, actor="loop") for _ in range(60)])
    assert store.read(count_decisions) == 60


def goal(value: float = 2.0) -> Goal:
    return Goal(id="g1", expectations=(Expectation(metric=TargetMetric.PRIORITY, value=value),))


def test_a_goal_is_created_replaced_and_deleted(store):
    wanted = StoredGoal(policy_type="T", id="g1", document='{"x": 1}', goal=goal())
    assert store.write(lambda t: put_goal(t, wanted, actor="ann"))[1] is True
    kept, is_new = store.write(lambda t: put_goal(t, wanted, actor="ann"))
    assert (kept.revision, is_new) == (2, False)
    enforced = replace(kept, status="ENFORCED")
    assert not store.write(lambda t: set_goal_status(t, replace(enforced, revision=1), actor="loop"))
    assert store.write(lambda t: set_goal_status(t, enforced, actor="loop"))
    assert store.read(lambda c: find_goal(c, "T", "g1")).status == "ENFORCED"
    assert store.write(lambda t: delete_goal(t, "T", "g1", actor="ann"))
    assert not store.write(lambda t: delete_goal(t, "T", "g1", actor="ann"))
    assert store.read(list_goals) == []


def test_a_goal_document_that_means_nothing_here_is_kept_too(store):
    wanted = StoredGoal(policy_type="T", id="g1", document="{}", goal=None, reason="SCOPE_NOT_APPLICABLE")
    store.write(lambda t: put_goal(t, wanted, actor="ann"))
    assert store.read(lambda c: find_goal(c, "T", "g1")).goal is None


def test_sessions_and_switches_are_kept_by_name(store):
    store.write(lambda t: save_session(t, "s1", {"turns": [1]}))
    store.write(lambda t: save_session(t, "s1", {"turns": [1, 2]}))
    store.write(lambda t: set_switch(t, "kill_switch", {"is_on": True}, actor="ann"))
    assert store.read(lambda c: load_session(c, "s1")) == {"turns": [1, 2]}
    assert store.read(lambda c: load_session(c, "s2")) is None
    assert store.read(load_switches) == {"kill_switch": {"is_on": True}}


def test_tokens_are_hashed_at_rest_expire_and_can_be_revoked(store, clock):
    assert not store.read(has_tokens)
    token = store.write(lambda t: create_token(t, name="ci", role="viewer", lifetime_s=60, actor="ann"))
    now_us = int(clock.now_s * 1e6)
    assert store.read(lambda c: owner_of(c, token, now_us=now_us)).role == "viewer"
    assert store.read(lambda c: owner_of(c, token, now_us=now_us + 60_000_000)) is None
    assert store.read(lambda c: owner_of(c, token + "x", now_us=now_us)) is None
    rows = store.read(lambda c: c.execute(text("SELECT * FROM tokens")).all())
    assert token not in str(rows)
    assert store.write(lambda t: revoke_tokens(t, name="ci", actor="ann")) == 1
    assert store.read(lambda c: owner_of(c, token, now_us=now_us)) is None


def test_an_idempotency_key_gives_the_first_response_again(store):
    assert store.write(lambda t: remember_response(t, "k", "f1", {"status": 201})) is None
    assert store.write(lambda t: remember_response(t, "k", "f1", {"status": 409})) == {"status": 201}
    with pytest.raises(AgentInputInvalid, match="another request"):
        store.read(lambda c: recall_response(c, "k", "f2"))


def test_the_trail_holds_every_change_in_order(store):
    store.write(lambda t: save_policy(t, policy(), PolicyStatus.PROPOSED, actor="loop"))
    store.write(lambda t: set_policy_status(t, 1, PolicyStatus.ENFORCED, actor="loop"))
    entries = store.read(lambda c: list(read_trail(c)))
    assert [(entry.seq, entry.kind) for entry in entries] == [(1, "policy_saved"), (2, "policy_status")]
    report = store.read(verify_trail)
    assert report.is_intact
    assert report.head_hash == entries[-1].hash


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit SET body = replace(body, 'enforced', 'reverted') WHERE seq = 2",
        "UPDATE audit SET actor = 'eve' WHERE seq = 1",
        "UPDATE audit SET time_us = time_us + 1 WHERE seq = 1",
        "UPDATE audit SET kind = 'policy_status ' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 1",
        "UPDATE audit_head SET seq = 1",
        "UPDATE policies SET document = replace(document, '50', '90')",
        "DELETE FROM policies",
        "UPDATE decisions SET document = replace(document, 'llm', 'xyz')",
        "INSERT INTO policies SELECT 99, parent_version, planner, content_hash, document, status, 0 FROM policies",
    ],
)
def test_verification_finds_any_change(store, damage):
    store.write(lambda t: save_policy(t, policy(), PolicyStatus.PROPOSED, actor="loop"))
    store.write(lambda t: set_policy_status(t, 1, PolicyStatus.ENFORCED, actor="loop"))
    record = DecisionRecord(time_s=1, planner="llm", digest_hash="d" * 64)
    store.write(lambda t: save_decision(t, record, actor="loop"))
    store.write(lambda t: t.connection.execute(text(damage)) and None)
    assert not store.read(verify_trail).is_intact


def test_a_trail_cut_short_and_chained_anew_lacks_its_anchor(store):
    for number in range(3):
        store.write(lambda t, n=number: set_switch(t, f"s{n}", {}, actor="ann"))
    entries = store.read(lambda c: list(read_trail(c)))
    store.write(lambda t: t.connection.execute(text("DELETE FROM audit WHERE seq = 3")) and None)
    store.write(
        lambda t: (
            t.connection.execute(text("UPDATE audit_head SET seq = 2, hash = :hash"), {"hash": entries[1].hash})
            and None
        )
    )
    assert store.read(verify_trail).is_intact
    assert not store.read(lambda c: verify_trail(c, anchor=entries[2].hash)).is_intact


def test_a_store_whose_trail_does_not_end_at_its_head_does_not_open(url, store, clock):
    store.write(lambda t: set_switch(t, "s", {}, actor="ann"))
    store.write(lambda t: t.connection.execute(text("DELETE FROM audit")) and None)
    with pytest.raises(StoreUnusable, match="audit trail"):
        Store.open(url, clock)


def test_work_that_fails_leaves_nothing_and_sinks_no_neighbour(store):
    def fails(transaction):
        set_switch(transaction, "half", {}, actor="eve")
        raise ValueError("no")

    gate = threading.Event()
    first = store.submit(lambda t: gate.wait(5) and set_switch(t, "a", {}, actor="ann"))
    bad = store.submit(fails)
    last = store.submit(lambda t: set_switch(t, "b", {}, actor="ann"))
    gate.set()
    first.result()
    last.result()
    with pytest.raises(ValueError, match="no"):
        bad.result()
    assert set(store.read(load_switches)) == {"a", "b"}
    assert store.read(verify_trail).is_intact


def test_concurrent_writers_make_one_chain_without_gaps(store):
    def write_many(name: str) -> None:
        for number in range(20):
            store.write(lambda t, n=number: set_switch(t, f"{name}{n}", {}, actor=name))

    threads = [threading.Thread(target=write_many, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report = store.read(verify_trail)
    assert report.is_intact
    assert report.num_entries == 80


def test_two_processes_worth_of_stores_share_one_chain(url, store, clock):
    with Store.open(url, clock) as other:
        futures = []
        for number in range(30):
            writer = store if number % 2 else other
            futures.append(writer.submit(lambda t, n=number: set_switch(t, f"s{n}", {}, actor="ann")))
        for future in futures:
            future.result()
    report = store.read(verify_trail)
    assert report.is_intact
    assert report.num_entries == 30


def test_what_was_written_is_there_after_reopening(url, clock):
    with Store.open(url, clock) as first:
        first.write(lambda t: set_switch(t, "freeze", {"until": 5}, actor="ann"))
    with Store.open(url, clock) as second:
        assert second.read(load_switches) == {"freeze": {"until": 5}}


def test_a_closed_store_takes_no_more_work(store):
    store.close()
    with pytest.raises(StoreUnusable, match="closed"):
        store.write(lambda t: set_switch(t, "late", {}, actor="ann"))
    with pytest.raises(StoreUnusable, match="closed"):
        store.read(load_switches)


def test_a_schema_made_at_once_is_the_one_that_the_migrations_lead_to(tmp_path):
    made, migrated = (create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("made", "migrated"))
    with migrated.begin() as connection:
        # One of somebody's own tables: then the migrations run.
        connection.execute(text("CREATE TABLE other (id INTEGER)"))
    for engine in (made, migrated):
        Store.open(str(engine.url)).close()
    with migrated.begin() as connection:
        connection.execute(text("DROP TABLE other"))
    assert _schema(made) == _schema(migrated)
    made.dispose()
    migrated.dispose()


def _schema(engine):
    """Tables with their columns and indexes, and the rows that are there from the start."""
    found = inspect(engine)
    tables = {
        name: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((index["name"], tuple(index["column_names"])) for index in found.get_indexes(name)),
        )
        for name in found.get_table_names()
    }
    with engine.connect() as connection:
        rows = {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in tables}
    return tables, rows


def test_of_several_that_start_together_one_creates(url):
    barrier, failures = threading.Barrier(4), []

    def start() -> None:
        barrier.wait(10.0)
        try:
            open_engine(url).dispose()
        except StoreUnusable as error:
            failures.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store.open(url) as store:
        assert store.read(list_policies) == []


def test_a_store_of_the_first_schema_is_carried_over_with_what_is_superseded_and_what_lapsed(url, clock):
    with Store.open(url, clock) as store:
        for version, status in enumerate(("enforced", "superseded", "reverted", "not_enforced", "enforced"), start=1):
            saved, known = policy(version), PolicyStatus(status)
            store.write(lambda t, p=saved, s=known: save_policy(t, p, s, actor="loop"))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_policies_status"))
        connection.execute(text("DROP TABLE planned_goals"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    with Store.open(url, clock) as store:
        found = store.read(lambda c: [kept.status.value for kept in list_policies(c)][::-1])
        assert found == ["superseded", "lapsed", "reverted", "superseded", "enforced"]
        assert store.read(verify_trail).is_intact
        indices = store.read(lambda c: {index["name"] for index in inspect(c).get_indexes("policies")})
        assert "ix_policies_status" in indices
        assert store.read(lambda c: inspect(c).has_table("planned_goals"))

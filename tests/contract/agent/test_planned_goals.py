"""What a version was planned with is found again in every database."""

from __future__ import annotations

from sqlalchemy import func, select

from agent.goal import Expectation, Goal, TargetMetric
from agent.store.planned_goals import find_planned_goals, goal_digest, save_planned_goals
from agent.store.store import Store
from agent.store.tables import PLANNED_GOALS


def save(store: Store, version: int, *digests: str) -> None:
    store.write(lambda transaction: save_planned_goals(transaction, version, digests))


def find(store: Store, version: int) -> frozenset[str] | None:
    return store.read(lambda connection: find_planned_goals(connection, version))


def test_a_version_has_the_goals_that_were_noted_and_an_unknown_one_none_to_tell(store):
    save(store, 1, "b", "a")
    save(store, 2)
    save(store, 3, "a", "b")
    assert [find(store, version) for version in (1, 2, 3, 4)] == [{"a", "b"}, frozenset(), {"a", "b"}, None]


def test_the_first_word_on_a_version_stands(store):
    save(store, 1, "a")
    save(store, 1, "b")
    assert find(store, 1) == {"a"}


def test_the_same_goals_are_written_once(store):
    for version in range(1, 6):
        save(store, version, "a", "b")
    written = select(func.count()).where(PLANNED_GOALS.c.goals.is_not(None))
    assert store.read(lambda connection: connection.execute(written).scalar_one()) == 1


def test_a_digest_stands_for_all_that_a_goal_says():
    def goal(name: str, value: float, priority: int) -> Goal:
        expectation = Expectation(metric=TargetMetric.PRIORITY, value=value)
        return Goal(id=name, expectations=(expectation,), priority=priority)

    said = [("g", 2.0, 0), ("h", 2.0, 0), ("g", 3.0, 0), ("g", 2.0, 1)]
    assert len({goal_digest(goal(*each)) for each in said}) == len(said)
    assert goal_digest(goal(*said[0])) == goal_digest(goal(*said[0]))

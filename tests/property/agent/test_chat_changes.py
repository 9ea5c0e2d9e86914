"""Whatever a model says and a person types: nothing changes without a yes to that very change."""

from __future__ import annotations

from hypothesis import HealthCheck, event, given, settings

from tests.fuzz_stage import Step, converse, steps, traces, witnessed_room

_SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@_SETTINGS
@given(steps())
def test_nothing_changes_without_a_yes_that_matches(taken: list[Step]) -> None:
    with witnessed_room(is_read_only=False) as (room, witness):
        assert converse(room, witness, taken) == []
        event(f"dispatched {len(witness.dispatched)}")


@_SETTINGS
@given(steps())
def test_a_read_only_session_changes_nothing_at_all(taken: list[Step]) -> None:
    with witnessed_room(is_read_only=True) as (room, witness):
        assert converse(room, witness, taken) == []
        assert traces(room) == (0, 0, 0, 0)
        assert witness.dispatched == []
        assert witness.num_asked == 0

"""Whatever a model says and callers of any role do: a server changes nothing without a confirmed word that may."""

from __future__ import annotations

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.attached_stage import CALLERS, AttachedTalk, witnessed_server
from tests.fuzz_stage import Step, steps, traces

_SETTINGS = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@_SETTINGS
@given(steps(), CALLERS)
def test_nothing_changes_without_a_confirmed_word(taken: list[Step], callers: list[str]) -> None:
    with witnessed_server() as (operations, witness):
        talk = AttachedTalk(operations, witness)
        faults = [talk.take(step, role, is_read_only=False) for step, role in zip(taken, callers, strict=False)]
        assert [fault for found in faults for fault in found] == []
        event(f"dispatched {len(witness.dispatched)}")


@_SETTINGS
@given(steps(), st.sampled_from(["viewer", "read-only"]))
def test_a_viewer_and_a_read_only_caller_change_nothing_at_all(taken: list[Step], who: str) -> None:
    with witnessed_server() as (operations, witness):
        talk = AttachedTalk(operations, witness)
        before = traces(talk.room)
        turns = sum(step.num_intervals > 0 for step in taken)
        for step in taken:
            talk.take(step, "viewer" if who == "viewer" else "approver", is_read_only=who == "read-only")
        assert witness.dispatched == []
        assert talk.num_confirmed == 0
        # The loop's own suggestions come with its turns; a read-only planner's proposals wait for nobody.
        assert traces(talk.room)[:3] == before[:3]
        assert turns or who == "read-only" or traces(talk.room) == before

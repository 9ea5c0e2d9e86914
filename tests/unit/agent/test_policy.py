"""Scheduling policies: what is refused, and what an approval is bound to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from agent.errors import PolicyInvalid
from agent.policy import ReasonCode, SchedulingPolicy, parse_policy
from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from tests.agent_stage import TOPOLOGY

VIDEO, CONTROL, METERS = (profile.id for profile in TOPOLOGY.slices)


def policy(*actions: ControlAction, **changes: Any) -> SchedulingPolicy:
    whole: dict[str, Any] = {
        "version": 2,
        "parent_version": 1,
        "planner": "test",
        "valid_from_s": 10.0,
        "valid_until_s": 30.0,
        "actions": actions,
        "rationale": (ReasonCode.STEADY,),
    }
    return SchedulingPolicy(**{**whole, **changes})


def document(**changes: Any) -> str:
    return json.dumps({**policy(SliceAction(cell=1, slice=VIDEO, min_pct=40)).model_dump(mode="json"), **changes})


def test_a_policy_read_back_is_the_same_and_hashes_the_same() -> None:
    written = policy(SliceAction(cell=1, slice=VIDEO, min_pct=40), CellAction(cell=1, tx_power_step_db=-3))
    read = parse_policy(written.model_dump_json(), TOPOLOGY)

    assert read == written
    assert read.content_hash() == written.content_hash()


def test_the_hash_is_that_of_the_canonical_json() -> None:
    plain = policy(SliceAction(cell=1, slice=VIDEO, min_pct=40))
    canonical = json.dumps(json.loads(plain.model_dump_json()), sort_keys=True, separators=(",", ":"))

    assert plain.content_hash() == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"planner": "other"},
        {"valid_until_s": 31.0},
        {"actions": (SliceAction(cell=1, slice=VIDEO, min_pct=41),)},
        {"rationale": ()},
    ],
)
def test_any_change_changes_the_hash(changes: dict[str, Any]) -> None:
    actions = changes.pop("actions", (SliceAction(cell=1, slice=VIDEO, min_pct=40),))

    assert (
        policy(*actions, **changes).content_hash()
        != policy(SliceAction(cell=1, slice=VIDEO, min_pct=40)).content_hash()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 1},
        {"parent_version": -1},
        {"planner": "x" * 33},
        {"valid_from_s": -1.0},
        {"valid_until_s": 10.0},
        {"valid_until_s": float("inf")},
        {"valid_from_s": float("nan")},
        {"rationale": ("because",)},
        {"rationale": ("steady",) * 17},
        {"rollback": {"utility_drop": 0.0}},
        {"rollback": {"num_intervals": 61}},
        {"expected": ({"cell": 1, "slice": {"sst": 1}, "in_time_ratio": 1.1},)},
        {"surprise": 1},
    ],
)
def test_a_policy_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**changes)


@pytest.mark.parametrize("field", ["dedicated_pct", "min_pct", "compute_pct"])
def test_guarantees_of_a_cell_sum_to_at_most_a_hundred(field: str) -> None:
    def part(slice_id: Any, percent: int, cell: int = 1) -> SliceAction:
        return SliceAction(**{"cell": cell, "slice": slice_id, "min_pct": percent, field: percent})

    assert policy(part(VIDEO, 60), part(CONTROL, 40), part(METERS, 60, cell=2))
    with pytest.raises(ValidationError, match=r"must sum to at most 100 per cell, got \{1: 101\}"):
        policy(part(VIDEO, 60), part(CONTROL, 41))


def test_ceilings_may_sum_to_more_than_a_hundred() -> None:
    assert policy(*(SliceAction(cell=1, slice=i, min_pct=0, max_pct=100) for i in (VIDEO, CONTROL, METERS)))


def test_each_target_is_named_once() -> None:
    twice = SliceAction(cell=1, slice=VIDEO, min_pct=10)

    with pytest.raises(ValidationError, match="each target once"):
        policy(twice, twice)
    with pytest.raises(ValidationError, match="each target once"):
        policy(CellAction(cell=1), CellAction(cell=1, sleep=True))
    assert policy(twice, twice.model_copy(update={"cell": 2}), CellAction(cell=1))


def test_a_cell_receives_its_own_part() -> None:
    mine, other = CellAction(cell=1), CellAction(cell=2)

    assert policy(mine, other).for_cell(1) == (mine,)
    assert policy(mine, other).for_cell(3) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "policy: Invalid JSON"),
        ("{", "policy: Invalid JSON"),
        ("[" * 10_000, "Invalid JSON"),
        ("[]", "policy: "),
        (document(version="x"), "version: .*got 'x'"),
        (document(actions=[{"kind": "slice", "cell": 1}]), "actions"),
        (document(actions=[{"kind": "nothing", "cell": 1}]), "actions"),
        (document(actions=[{"kind": "cell", "cell": 9}]), r"cell 9 is unknown; cells are \[1, 2, 3\]"),
        (
            document(actions=[{"kind": "slice", "cell": 1, "slice": {"sst": 9}, "min_pct": 1}]),
            "slice 9-ffffff is unknown; slices are",
        ),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PolicyInvalid, match=message):
        parse_policy(text, TOPOLOGY)

"""Goals: what they may say, and what several of them mean together for one cell."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from agent.errors import GoalInvalid
from agent.goal import ContextKind, Expectation, Goal, GoalTerms, TargetMetric, check_goal, resolve_goals
from agent.pretraining.examples import random_digest
from edge_preprocess.digest import EdgeDigest, NeighbourDigest
from telemetry_sim.topology import SliceId
from tests.agent_stage import TOPOLOGY

CONTROL = TOPOLOGY.slices[1].id


def quiet_digest(cell: int = 1, **changes: object) -> EdgeDigest:
    made = random_digest(np.random.default_rng(0))
    row = made.slices[0]
    rows = tuple(row.model_copy(update={"slice": profile.id}) for profile in TOPOLOGY.slices)
    whole = {"cell": cell, "slices": rows, "neighbours": (), "prb_used": 1.0, **changes}
    return made.model_copy(update=whole)


def wish(metric: TargetMetric, value: float, **rest: object) -> Goal:
    return goal(Expectation(metric=metric, value=value, **rest))


def goal(*expectations: Expectation, **rest: object) -> Goal:
    return Goal(id="g", expectations=expectations, **rest)


def terms(*goals: Goal, digest: EdgeDigest | None = None) -> GoalTerms:
    return resolve_goals(goals, TOPOLOGY, digest or quiet_digest())


def test_without_goals_the_profiles_hold() -> None:
    resolved = terms()

    assert resolved.weight.tolist() == [profile.weight for profile in TOPOLOGY.slices]
    assert resolved.delay_budget_ms.tolist() == [profile.delay_budget_ms for profile in TOPOLOGY.slices]
    assert resolved.target.tolist() == [profile.in_time_target for profile in TOPOLOGY.slices]
    assert not resolved.floor.any()
    assert np.isinf(resolved.ue_rate_cap_mbps).all()
    assert resolved.energy_weight == 0.0


@pytest.mark.parametrize(
    ("metric", "value", "column", "expected"),
    [
        (TargetMetric.PRIORITY, 4.0, "weight", 12.0),
        (TargetMetric.IN_TIME_RATIO, 0.9, "floor", 0.9),
        (TargetMetric.DELAY_MS, 5.0, "delay_budget_ms", 5.0),
        (TargetMetric.UE_RATE_MBPS, 2.0, "ue_rate_cap_mbps", 2.0),
    ],
)
def test_an_expectation_changes_its_own_column_of_its_own_slice_only(
    metric: TargetMetric, value: float, column: str, expected: float
) -> None:
    plain, asked = terms(), terms(wish(metric, value, slices=(CONTROL,)))

    assert getattr(asked, column)[1] == expected
    for name in ("weight", "floor", "delay_budget_ms", "ue_rate_cap_mbps"):
        same = np.ones(3, bool)
        same[1] = name != column
        assert (getattr(asked, name)[same] == getattr(plain, name)[same]).all()


def test_a_delay_goal_never_relaxes_a_budget() -> None:
    assert terms(wish(TargetMetric.DELAY_MS, 10_000.0)).delay_budget_ms.tolist() == [300.0, 20.0, 900.0]


def test_no_slices_means_all_of_them() -> None:
    assert terms(wish(TargetMetric.IN_TIME_RATIO, 0.7)).floor.tolist() == [0.7, 0.7, 0.7]


def test_cells_limit_where_an_expectation_holds() -> None:
    only_two = wish(TargetMetric.IN_TIME_RATIO, 0.7, cells=(2,))

    assert not terms(only_two).floor.any()
    assert terms(only_two, digest=quiet_digest(cell=2)).floor.all()


@pytest.mark.parametrize("order", [1, -1])
def test_the_higher_priority_wins_in_any_order(order: int) -> None:
    low = goal(Expectation(metric=TargetMetric.PRIORITY, value=2.0), priority=1)
    high = goal(Expectation(metric=TargetMetric.PRIORITY, value=5.0), priority=9)

    assert terms(*(low, high)[::order]).weight[0] == 5.0


def test_of_equal_priorities_the_later_wins() -> None:
    first, second = wish(TargetMetric.ENERGY, 0.2), wish(TargetMetric.ENERGY, 0.6)

    assert terms(first, second).energy_weight == 0.6
    assert terms(second, first).energy_weight == 0.2


def test_a_goal_ends_at_its_time() -> None:
    limited = goal(Expectation(metric=TargetMetric.ENERGY, value=0.5), valid_until_s=100.0)

    assert terms(limited, digest=quiet_digest(end_s=99.0)).energy_weight == 0.5
    assert terms(limited, digest=quiet_digest(end_s=100.0)).energy_weight == 0.0


def test_a_goal_for_outages_holds_while_a_neighbour_is_down() -> None:
    rescue = wish(TargetMetric.IN_TIME_RATIO, 0.9, context=ContextKind.CELL_DOWN)
    up, down = (NeighbourDigest(cell=2, prb_utilisation=0.1, is_up=is_up) for is_up in (True, False))

    assert not terms(rescue, digest=quiet_digest(neighbours=(up,))).floor.any()
    assert terms(rescue, digest=quiet_digest(neighbours=(up, down))).floor.all()


def test_a_goal_for_congestion_holds_above_nine_tenths_of_the_prbs() -> None:
    calm = wish(TargetMetric.IN_TIME_RATIO, 0.9, context=ContextKind.CONGESTED)

    assert not terms(calm, digest=quiet_digest(num_prb=100, prb_used=90.0)).floor.any()
    assert terms(calm, digest=quiet_digest(num_prb=100, prb_used=90.1)).floor.all()


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (TargetMetric.PRIORITY, 0.0),
        (TargetMetric.PRIORITY, 10.1),
        (TargetMetric.IN_TIME_RATIO, 1.01),
        (TargetMetric.IN_TIME_RATIO, float("nan")),
        (TargetMetric.DELAY_MS, 0.0),
        (TargetMetric.UE_RATE_MBPS, -1.0),
        (TargetMetric.ENERGY, float("inf")),
    ],
)
def test_a_value_out_of_bounds_is_refused(metric: TargetMetric, value: float) -> None:
    with pytest.raises(ValidationError):
        Expectation(metric=metric, value=value)


@pytest.mark.parametrize(
    "fault",
    [
        {"priority": True},
        {"priority": "1"},
        {"priority": 1.0},
        {"valid_until_s": "100"},
        {"valid_until_s": True},
        {"value": True},
        {"value": "2"},
        {"cells": ["1"]},
        {"cells": [True]},
        {"slices": [{"sst": "2"}]},
        {"slices": [{"sst": True}]},
        {"slices": [{"sst": 2, "sd": "1"}]},
        {"slices": [{"sst": 2, "sd": 1.0}]},
    ],
)
def test_a_number_in_a_goals_document_is_a_number(fault: dict[str, object]) -> None:
    wanted = {"metric": "priority", "value": 2, "cells": [1], "slices": [{"sst": 2, "sd": 1}]}
    document: dict[str, object] = {"id": "g", "expectations": [wanted], "priority": 1, "valid_until_s": 100}
    assert Goal.model_validate_json(json.dumps(document)).expectations[0].value == 2.0
    (wanted if set(fault) & set(wanted) else document).update(fault)

    with pytest.raises(ValidationError, match=next(iter(fault))):
        Goal.model_validate_json(json.dumps(document))


def test_a_goal_that_expects_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="expectations"):
        goal()


@pytest.mark.parametrize("name", ["", "-x", "a" * 65, "a b", "<script>"])
def test_a_goal_needs_a_plain_id(name: str) -> None:
    with pytest.raises(ValidationError, match="id"):
        Goal(id=name, expectations=(Expectation(metric=TargetMetric.ENERGY, value=0.5),))


def test_a_goal_that_names_an_unknown_slice_is_refused_with_the_known_ones() -> None:
    strange = wish(TargetMetric.ENERGY, 0.5, slices=(SliceId(sst=99),))

    with pytest.raises(GoalInvalid, match=r"expectations\[0\]\.slices: 99-ffffff is unknown; slices are .*1-ffffff"):
        check_goal(strange, TOPOLOGY)


def test_a_goal_that_names_an_unknown_cell_is_refused_with_the_known_ones() -> None:
    with pytest.raises(GoalInvalid, match=r"cells: 9 is unknown; cells are \[1, 2, 3\]"):
        check_goal(wish(TargetMetric.ENERGY, 0.5, cells=(1, 9)), TOPOLOGY)


def test_a_goal_that_names_known_things_passes() -> None:
    check_goal(wish(TargetMetric.ENERGY, 0.5, cells=(3,), slices=(CONTROL,)), TOPOLOGY)

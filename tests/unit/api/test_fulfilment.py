"""Goals that can't be met are not called enforced."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from agent.goal import Expectation, Goal, TargetMetric
from agent.store.goals import OPERATOR_TYPE, StoredGoal
from api.fulfilment import PATIENCE, Fulfilment
from api.slice_sla import POLICY_TYPE_ID, NotApplicable, SliceSlaTarget, to_goal
from tests.api_stage import TOPOLOGY

SLICE = TOPOLOGY.slices[1].id
PLANS = {1: object()}


class Foresight:
    """A twin that expects the same in-time ratio of every plan."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def expected_in_time(self, plan, digest, terms):
        return np.full(len(digest.slices), self._ratio)


def interval(*, demand=1000.0, served=1000.0, in_time=1.0, kbps_per_prb=1000.0, floor=0.95):
    row = SimpleNamespace(
        slice=SLICE, demand_kbps=demand, served_kbps=served, in_time_ratio=in_time, kbps_per_prb=kbps_per_prb
    )
    digest = SimpleNamespace(cell=1, num_prb=51, slices=(row,))
    return {"digests": (digest,), "terms": (SimpleNamespace(floor=np.array([floor])),), "plans": PLANS}


def a1_policy(rate_kbps: float) -> StoredGoal:
    plmn = {"mcc": "001", "mnc": "01"}
    body = {
        "scope": {"sliceId": {"sst": SLICE.sst, "sd": f"{SLICE.sd:06x}", "plmnId": plmn}},
        "sliceSlaObjectives": {"guaDlThptPerSlice": rate_kbps},
        "sliceSlaResources": {"cellIdList": [{"plmnId": plmn, "cId": {"ncI": 1}}]},
    }
    document = json.dumps(body)
    goal = to_goal("p", SliceSlaTarget.model_validate_json(document), TOPOLOGY)
    assert isinstance(goal, Goal)
    return StoredGoal(policy_type=POLICY_TYPE_ID, id="p", document=document, goal=goal)


def floor_goal(value: float) -> StoredGoal:
    expectation = Expectation(metric=TargetMetric.IN_TIME_RATIO, value=value, slices=(SLICE,))
    goal = Goal(id="g", expectations=(expectation,))
    return StoredGoal(policy_type=OPERATOR_TYPE, id="g", document=goal.model_dump_json(), goal=goal)


def short(fulfilment, goal, **seen) -> str:
    return fulfilment.shortfalls([goal], **interval(**seen)).get(goal.key, "")


def test_a_guarantee_beyond_what_the_cells_carry_falls_short_at_once_and_says_why():
    why = short(Fulfilment(Foresight(1.0)), a1_policy(60_000))
    assert "60000 kbit/s are guaranteed" in why
    assert "51000" in why


def test_a_guarantee_that_nobody_uses_up_is_met():
    assert not short(Fulfilment(Foresight(1.0)), a1_policy(5_000), demand=100.0, served=100.0)


def test_without_a_device_in_sight_capacity_is_unknown_and_nothing_falls_short():
    assert not short(Fulfilment(Foresight(1.0)), a1_policy(5_000), demand=0.0, served=0.0, kbps_per_prb=0.0)


@pytest.mark.parametrize(("goal", "seen"), [(a1_policy(5_000), {"served": 400.0}), (floor_goal(0.9), {"in_time": 0.4})])
class TestWhatIsMissed:
    def test_falls_short_at_once_where_the_twin_foresees_no_better(self, goal, seen):
        assert short(Fulfilment(Foresight(0.5)), goal, **seen)

    def test_falls_short_after_some_patience_where_the_twin_does(self, goal, seen):
        fulfilment = Fulfilment(Foresight(1.0))
        told = [bool(short(fulfilment, goal, **seen)) for _ in range(PATIENCE)]
        assert told == [False] * (PATIENCE - 1) + [True]

    def test_is_forgiven_once_it_is_met_again(self, goal, seen):
        fulfilment = Fulfilment(Foresight(0.5))
        assert short(fulfilment, goal, **seen)
        assert not short(fulfilment, goal)
        assert not short(fulfilment, goal, **seen)


def test_a_goal_that_another_overrules_says_so():
    assert "a goal that wins" in short(Fulfilment(Foresight(1.0)), floor_goal(0.9), floor=0.5)


def test_a_rate_that_no_radio_carries_is_not_applicable():
    plmn = {"mcc": "001", "mnc": "01"}
    scope = {"sliceId": {"sst": SLICE.sst, "sd": f"{SLICE.sd:06x}", "plmnId": plmn}}
    body = {"scope": scope, "sliceSlaObjectives": {"guaDlThptPerSlice": 1e9}}
    refused = to_goal("p", SliceSlaTarget.model_validate_json(json.dumps(body)), TOPOLOGY)
    assert isinstance(refused, NotApplicable)
    assert refused.reason == "STATEMENT_NOT_APPLICABLE"
    assert refused.detail.startswith("guaDlThptPerSlice 1000000000 kbit/s: the cells in scope carry ")


async def test_a_policy_that_falls_short_is_not_enforced_over_a1_and_v1_says_why(client, operations):
    kept = a1_policy(5_000)
    path = f"/A1-P/v2/policytypes/{POLICY_TYPE_ID}/policies/p"
    await client.put(path, content=kept.document, headers={"Content-Type": "application/json"})
    operations.goals.planned(operations.goals.live_goals(), version=1)
    operations.goals.refresh(operations.states())
    assert (await client.get(f"{path}/status")).json() == {"enforceStatus": "ENFORCED"}
    operations.goals.note_shortfalls({kept.key: "too much is asked"})
    operations.goals.refresh(operations.states())
    refused = {"enforceStatus": "NOT_ENFORCED", "enforceReason": "OTHER_REASON"}
    assert (await client.get(f"{path}/status")).json() == refused
    assert [goal["enforce_detail"] for goal in (await client.get("/v1/goals")).json()] == ["too much is asked"]

"""A goal is enforced only while what is in force was planned with it, whoever brought that into force."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.gate.stops import Stops
from agent.goal import Goal
from agent.planner import FormulaPlanner
from agent.policy import SchedulingPolicy
from agent.store.goals import OPERATOR_TYPE
from agent.store.policies import PolicyStatus, save_policy
from api.goal_book import ENFORCED, NOT_ENFORCED
from api.planned_goals import PlannedGoals
from telemetry_sim.actions import SliceAction
from tests.api_stage import TOPOLOGY, Stage, build_stage, client_for
from tests.unit.api.test_operator import GOAL

WAITS = "waits for the dispatch of a policy that was planned with it"


class Restless:
    """Plans another schedule each time, so that every version can be rolled back to."""

    name = "restless"

    def __init__(self, first_pct: int = 10) -> None:
        self._pct = first_pct

    def decide(self, digests, terms, current):
        self._pct += 1
        plan = CellPlan(cell=1, slices=tuple(SlicePlan(min_pct=pct) for pct in (self._pct, 20, 30)))
        planner = FormulaPlanner(name=self.name, formula=lambda digest, _: replace(plan, cell=digest.cell))
        return planner.decide(digests, terms, current)


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.operations._loop.planner = Restless()
    return stage


async def put(stage: Stage, *names: str, **changes: object) -> None:
    async with client_for(stage.operations) as client:
        for name in names:
            assert (await client.put(f"/v1/goals/{name}", json=GOAL | changes)).is_success


def statuses(stage: Stage) -> dict[str, str]:
    return {stored.id: stored.status for stored in stage.operations.goals.of_type(OPERATOR_TYPE)}


def roll_back(stage: Stage, to_version: int, **how: bool) -> None:
    stage.clock.now_s += 1.0
    assert stage.operations.rollback(to_version, actor="ann", reason="complaints", **how).is_enforced


async def heeding_one_then_two(stage: Stage) -> None:
    """Version 1 heeds g1, version 2 heeds g2 too."""
    for name in ("g1", "g2"):
        await put(stage, name)
        stage.clock.now_s += 1.0
        stage.operations.turn()
        stage.clock.now_s += 1.0
    assert statuses(stage) == {"g1": ENFORCED, "g2": ENFORCED}


async def test_after_a_rollback_only_what_that_version_was_planned_with_is_enforced(stage, client):
    await heeding_one_then_two(stage)
    for to_version, expected in ((1, {"g1": ENFORCED, "g2": NOT_ENFORCED}), (0, {})):
        answer = await client.post("/v1/rollback", json={"to_version": to_version, "reason": "complaints"})
        assert answer.json()["status"] == "enforced"
        assert statuses(stage) == {"g1": NOT_ENFORCED, "g2": NOT_ENFORCED} | expected
        shown = {goal["id"]: goal["enforce_detail"] for goal in (await client.get("/v1/goals")).json()}
        assert shown["g2"] == WAITS
    stage.operations.turn()
    assert statuses(stage) == {"g1": ENFORCED, "g2": ENFORCED}


async def test_an_approvers_rollback_under_the_kill_switch_tells_the_same(stage):
    await heeding_one_then_two(stage)
    stage.gate.set_stops(Stops(mode=stage.gate.stops().mode, is_killed=True), actor="ann")
    roll_back(stage, 1, despite_kill=True)
    for _ in range(2):
        assert statuses(stage) == {"g1": ENFORCED, "g2": NOT_ENFORCED}
        stage.operations.turn()


async def test_a_rollback_to_a_rollback_heeds_what_that_one_went_back_to(stage):
    await heeding_one_then_two(stage)
    roll_back(stage, 1)
    stage.operations.turn()
    assert statuses(stage) == {"g1": ENFORCED, "g2": ENFORCED}
    roll_back(stage, 3)
    assert statuses(stage) == {"g1": ENFORCED, "g2": NOT_ENFORCED}


def restarted(stage: Stage, tmp_path) -> Stage:
    again = build_stage(f"sqlite:///{tmp_path}/store.db", stage.clock)
    again.operations._loop.planner = Restless(first_pct=30)
    again.operations.resume()
    return again


async def test_a_restart_changes_nothing_of_it(stage, tmp_path):
    await heeding_one_then_two(stage)
    roll_back(stage, 1)
    stage.store.write(lambda _: None)
    again = restarted(stage, tmp_path)
    again.gate.set_stops(Stops(mode=again.gate.stops().mode, is_killed=True), actor="ann")
    again.operations.turn()
    assert statuses(again) == {"g1": ENFORCED, "g2": NOT_ENFORCED}
    again.store.close()


async def test_what_is_rolled_back_to_after_a_restart_is_known_as_well_as_before_it(stage, tmp_path):
    await heeding_one_then_two(stage)
    roll_back(stage, 1)
    stage.operations.turn()
    await put(stage, "g3")
    stage.clock.now_s += 1.0
    stage.operations.turn()
    stage.store.write(lambda _: None)
    again = restarted(stage, tmp_path)
    assert set(statuses(again).values()) == {ENFORCED}
    for to_version, expected in ((3, ["g1"]), (2, ["g1", "g2"]), (0, [])):
        roll_back(again, to_version)
        assert [name for name, status in statuses(again).items() if status == ENFORCED] == expected
    again.store.close()


async def test_a_status_that_was_not_kept_before_a_crash_is_put_right(stage, tmp_path):
    await heeding_one_then_two(stage)
    goals = stage.operations.goals
    stage.operations.on_status = None
    goals._keep_status = lambda _: None
    roll_back(stage, 1)
    stage.store.write(lambda _: None)
    again = restarted(stage, tmp_path)
    again.gate.set_stops(Stops(mode=again.gate.stops().mode, is_killed=True), actor="ann")
    assert statuses(again) == {"g1": ENFORCED, "g2": ENFORCED}
    again.operations.turn()
    assert statuses(again) == {"g1": ENFORCED, "g2": NOT_ENFORCED}
    again.store.close()


async def test_after_an_automatic_rollback_the_goals_that_it_undid_wait(stage):
    operations = stage.operations
    for _ in range(8):
        operations.turn()
    await put(stage, "g1")
    operations.turn()
    assert statuses(stage) == {"g1": ENFORCED}
    pipeline = operations._loop.pipeline

    def suffering(frames, logs):
        change = {"demand_kbps": 1000.0, "served_kbps": 0.0, "in_time_ratio": 0.0, "kbps_per_prb": 1000.0}
        return tuple(
            digest.model_copy(update={"slices": tuple(row.model_copy(update=change) for row in digest.slices)})
            for digest in pipeline.digest(frames, logs)
        )

    operations._loop.pipeline = SimpleNamespace(digest=suffering)
    before = stage.gate.desired.version
    for _ in range(2):
        operations.turn()
    assert stage.gate.policy_in_force.planner == "rollback"
    assert stage.gate.desired.version > before
    assert statuses(stage) == {"g1": NOT_ENFORCED}


def by_hand(stage: Stage) -> SchedulingPolicy:
    actions = tuple(SliceAction(cell=1, slice=profile.id, min_pct=30) for profile in TOPOLOGY.slices)
    return SchedulingPolicy(
        version=stage.gate.next_version(),
        parent_version=stage.gate.desired.version,
        planner="ann",
        valid_from_s=0.0,
        valid_until_s=900.0,
        actions=actions,
    )


async def test_a_turn_that_began_before_a_goal_and_goes_out_after_its_plan_does_not_heed_it(stage):
    planner, may_decide, has_begun = stage.operations._loop.planner, threading.Event(), threading.Event()

    def decide(digests, terms, current):
        has_begun.set()
        assert may_decide.wait(10)
        return planner.decide(digests, terms, current)

    stage.operations._loop.planner = SimpleNamespace(name="slow", decide=decide)
    turning = threading.Thread(target=stage.operations.turn)
    turning.start()
    assert has_begun.wait(10)
    await put(stage, "g1")
    policy = by_hand(stage)
    submitting = threading.Thread(target=lambda: stage.operations.submit(policy, actor="ann"))
    submitting.start()
    deadline_s = time.monotonic() + 10
    while not stage.network.applied:
        assert time.monotonic() < deadline_s
    may_decide.set()
    for thread in (turning, submitting):
        thread.join(10)
    assert stage.network.applied == [1, 2]
    assert statuses(stage) == {"g1": NOT_ENFORCED}


def test_word_of_a_version_that_another_followed_comes_too_late(stage):
    goals = stage.operations.goals
    goals.planned([], version=2)
    goals.planned(goals.live_goals(), version=1)
    assert goals._version == 2


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_a_version_that_was_withdrawn_left_the_goals_of_the_one_before(stage, is_forgotten):
    await put(stage, "g1")
    goal = Goal.model_validate({"id": "g1", **GOAL})
    known, policy = PlannedGoals(stage.store, stage.operations.goals), by_hand(stage)
    withdrawn = policy.model_copy(update={"version": 2, "parent_version": 1})
    for each in (policy, withdrawn):
        stage.store.write(lambda t, p=each: save_policy(t, p, PolicyStatus.ABORTED, actor="ann"))
    known.note_version(1, [goal])
    known.note_withdrawn(2)
    stage.store.write(lambda _: None)
    if is_forgotten:
        known = PlannedGoals(stage.store, stage.operations.goals)
    assert known.of_version(2) == (goal,)


async def test_of_a_version_of_before_anything_was_noted_only_goals_that_are_older_are_heeded(stage):
    await put(stage, "g1")
    stage.clock.now_s += 1.0
    policy = by_hand(stage)
    rollback = policy.model_copy(update={"version": 2, "parent_version": 1, "planner": "rollback"})
    for each in (policy, rollback):
        stage.store.write(lambda t, p=each: save_policy(t, p, PolicyStatus.SUPERSEDED, actor="ann"))
    stage.clock.now_s += 1.0
    await put(stage, "g2")
    known = PlannedGoals(stage.store, stage.operations.goals)
    assert [goal.id for goal in known.of_version(1)] == ["g1"]
    assert known.of_version(2) == known.of_version(9) == ()

"""The running loop beside the gate: which plan it goes on from, and what it calls dispatched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agent.cell_plan import CellPlan, SlicePlan
from agent.control_room import plan_of
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.goal import Goal
from agent.planner import FormulaPlanner
from agent.policy import SchedulingPolicy
from agent.store.decisions import DecisionRecord, list_decisions
from agent.store.goals import OPERATOR_TYPE, StoredGoal
from agent.store.policies import PolicyStatus, find_policy
from agent.store.tokens import TokenOwner
from agent.tools.looking import list_goals
from api.goal_book import ENFORCED, NOT_ENFORCED
from api.served_room import open_served_room
from telemetry_sim.actions import CellAction, SliceAction
from tests.api_stage import TOPOLOGY, Stage, build_stage, client_for
from tests.unit.api.test_a1 import BODY, POLICIES
from tests.unit.api.test_operator import GOAL

SUGGEST_ONLY, AUTONOMOUS = Stops(mode=Mode.SUGGEST_ONLY), Stops(mode=Mode.AUTONOMOUS)
IN_STEPS = FormulaPlanner(
    name="in_steps",
    formula=lambda digest, _: CellPlan(
        cell=digest.cell,
        slices=tuple(SlicePlan(min_pct=pct) for pct in (50, 30, 20)),
        tx_power_step_db=-6 if digest.cell == 1 else 0,
    ),
)


@pytest.fixture
def stage(clock, tmp_path):
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    built.gate.set_stops(SUGGEST_ONLY, actor="ann")
    yield built
    built.store.close()


def split(stage: Stage, *mins: int) -> SchedulingPolicy:
    """A person's own division of cell 1."""
    operations = stage.operations
    return SchedulingPolicy(
        version=stage.gate.next_version(),
        parent_version=stage.gate.desired.version,
        planner="ann",
        valid_from_s=operations.now_s,
        valid_until_s=operations.now_s + 900,
        actions=tuple(
            SliceAction(cell=1, slice=profile.id, min_pct=pct)
            for profile, pct in zip(TOPOLOGY.slices, mins, strict=True)
        ),
    )


def approve(stage: Stage, version: int) -> None:
    """A person's yes, and off it goes."""
    stored = stage.store.read(lambda c: find_policy(c, version))
    stage.operations.approve(
        version, policy_hash=stored.content_hash, approver="ann", reason="looks right", lifetime_s=600
    )
    assert stage.operations.submit(stored.policy, actor="ann").is_enforced


def planned_from(stage: Stage, cell: int) -> CellPlan:
    return stage.operations._loop.plan_in_force(cell)


def desired_plans(stage: Stage) -> dict[int, CellPlan]:
    return {cell.id: plan_of(cell.id, stage.gate.desired, TOPOLOGY) for cell in TOPOLOGY.cells}


def decisions(stage: Stage, version: int | None = None) -> list[DecisionRecord]:
    """The newest first."""
    # Handed in last, so all that was handed in before is durable.
    stage.store.write(lambda transaction: None)
    return [kept.record for kept in stage.store.read(lambda c: list_decisions(c, policy_version=version))]


async def put_goal(stage: Stage) -> None:
    async with client_for(stage.operations) as client:
        assert (await client.put("/v1/goals/g1", json=GOAL)).status_code == 201


def goal_status(stage: Stage) -> str:
    return stage.operations.goals.find(OPERATOR_TYPE, "g1").status


def test_after_a_submission_the_loop_plans_from_what_was_sent(stage):
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    assert stage.operations.submit(split(stage, 70, 20, 10), actor="ann").is_enforced
    assert [part.min_pct for part in planned_from(stage, 1).slices] == [70, 20, 10]


def test_after_an_approval_the_loop_plans_from_what_was_approved(stage):
    stage.operations.turn()
    approve(stage, 1)
    assert {cell: planned_from(stage, cell) for cell in (1, 2, 3)} == desired_plans(stage)


async def test_a_goal_is_not_called_planned_while_its_policy_waits(stage):
    await put_goal(stage)
    for _ in range(3):
        stage.operations.turn()
        assert goal_status(stage) == NOT_ENFORCED
    approve(stage, 1)
    assert goal_status(stage) == ENFORCED


async def test_a_goal_that_comes_while_a_policy_waits_is_not_heeded_by_it(stage):
    stage.operations.turn()
    await put_goal(stage)
    approve(stage, 1)
    assert goal_status(stage) == NOT_ENFORCED
    stage.operations.turn()
    assert stage.operations._loop.goals == stage.operations.goals.live_goals()
    approve(stage, 2)
    assert goal_status(stage) == ENFORCED


async def test_a_goal_that_comes_while_its_policy_is_being_planned_is_not_heeded_by_it(stage, monkeypatch):
    planner = stage.operations._loop.planner
    goal = Goal.model_validate({"id": "g1", **GOAL})

    class Slow:
        name = "slow"

        def decide(self, digests, terms, current):
            stage.operations.goals._goals[OPERATOR_TYPE, "g1"] = StoredGoal(
                policy_type=OPERATOR_TYPE, id="g1", document="{}", goal=goal, status=NOT_ENFORCED
            )
            return planner.decide(digests, terms, current)

    stage.operations._loop.planner = Slow()
    stage.operations.turn()
    approve(stage, 1)
    assert goal_status(stage) == NOT_ENFORCED


@pytest.mark.parametrize(("is_put_first", "status"), [(True, ENFORCED), (False, NOT_ENFORCED)])
async def test_after_a_restart_a_waiting_policy_heeds_what_was_put_before_it(
    stage, clock, tmp_path, is_put_first, status
):
    if is_put_first:
        await put_goal(stage)
    clock.now_s += 1.0
    stage.operations.turn()
    clock.now_s += 1.0
    if not is_put_first:
        await put_goal(stage)
    again = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    again.operations.resume()
    approve(again, 1)
    assert goal_status(again) == status
    again.store.close()


async def test_a_goal_put_anew_while_a_policy_waits_is_heeded_only_where_it_says_the_same(stage):
    await put_goal(stage)
    stage.operations.turn()
    async with client_for(stage.operations) as client:
        await client.delete("/v1/goals/g1")
        await client.put("/v1/goals/g1", json={**GOAL, "priority": 7})
    approve(stage, 1)
    assert goal_status(stage) == NOT_ENFORCED


async def test_a_plan_for_other_goals_heeds_none_of_the_live_ones(stage):
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    stage.operations.turn()
    await put_goal(stage)
    policy, _ = stage.operations.propose(())
    stage.operations.submit(policy, actor="ann")
    assert goal_status(stage) == NOT_ENFORCED


def with_clocks(stage: Stage, *ahead_s: float) -> None:
    """From now on each edge's clock is so far ahead."""
    digest = stage.operations._loop.pipeline.digest

    def shifted(frames, logs):
        return tuple(
            d.model_copy(update={"start_s": d.start_s + s, "end_s": d.end_s + s})
            for d, s in zip(digest(frames, logs), ahead_s, strict=True)
        )

    stage.operations._loop.pipeline = SimpleNamespace(digest=shifted)


def test_one_edge_whose_clock_is_ahead_moves_nobodys_now(stage):
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    with_clocks(stage, 0.0, 9e9, 2.0)
    turn = stage.operations.turn()
    expected_s = turn.digests[2].end_s
    assert (stage.operations.now_s, turn.policy.valid_from_s) == (expected_s, expected_s)
    policy, _ = stage.operations.propose()
    assert policy.valid_until_s == expected_s + 900.0


def test_a_room_sees_each_interval_once_whatever_the_clocks_say(stage):
    with_clocks(stage, 0.0, 9e9, 9e9)
    stage.operations.turn()
    room = open_served_room(stage.operations, TokenOwner(name="ann", role="admin"), is_read_only=True)
    with_clocks(stage, 0.0, -9e9, -9e9)
    stage.operations.turn()
    room.refresh()
    held = stage.operations.digests
    stage.operations._loop.pipeline = SimpleNamespace(digest=lambda *_: (*held,))
    stage.operations.turn()
    room.refresh()
    room.refresh()
    assert room.num_observed == 2


async def test_after_a_restart_a_waiting_policy_is_not_taken_for_the_one_in_force(stage, clock, tmp_path):
    stage.operations.turn()
    approve(stage, 1)
    stage.operations.turn()
    again = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    again.operations.resume()
    await put_goal(again)
    again.operations.turn()
    assert again.gate.desired.version == 1
    assert goal_status(again) == NOT_ENFORCED
    again.store.close()


def test_a_decision_stands_beside_the_policy_that_was_made_of_it_and_no_other(stage):
    for _ in range(4):
        stage.operations.turn()
    assert len(decisions(stage)) == 4
    assert len(decisions(stage, version=1)) == 1
    assert [record.policy_version for record in decisions(stage)] == [None, None, None, 1]
    approve(stage, 1)
    assert stage.store.read(lambda c: find_policy(c, 1)).status is PolicyStatus.ENFORCED


def test_a_refused_decision_stands_beside_no_policy(stage):
    stage.gate.set_stops(Stops(mode=Mode.AUTONOMOUS, is_killed=True), actor="ann")
    stage.operations.turn()
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    stage.operations.turn()
    assert [record.policy_version for record in decisions(stage)] == [1, None]


def test_the_loop_goes_on_from_as_far_as_the_gate_let_it_go(stage):
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    stage.operations._loop.planner = IN_STEPS
    stage.operations.turn()
    assert stage.gate.desired.actions[1, None] == CellAction(cell=1, tx_power_step_db=-3)
    assert {cell: planned_from(stage, cell) for cell in (1, 2, 3)} == desired_plans(stage)


def test_a_proposal_goes_no_further_than_the_gate_lets_it(stage):
    stage.operations._loop.planner = IN_STEPS
    stage.operations.turn()
    policy, _ = stage.operations.propose()
    assert stage.gate.examine(policy, now_s=stage.operations.now_s).refusal is None


async def test_a_chat_tells_what_was_asked_over_a1_in_its_own_numbers(stage, client):
    await client.put(f"{POLICIES}/p1", json=BODY)
    await client.put("/v1/goals/g1", json=GOAL)
    stage.operations.turn()
    room = open_served_room(stage.operations, TokenOwner(name="ann", role="admin"), is_read_only=True)
    own, over_a1 = sorted(list_goals(room).text.splitlines()[1:])
    assert own == "- control at 3 times the usual priority"
    assert "(asked over A1-P: slice 2-000001: guaDlThptPerSlice 5000 kbit/s over all cells)" in over_a1


def test_intervals_without_a_digest_say_nothing_of_what_is_normal(stage):
    stage.gate.set_stops(AUTONOMOUS, actor="ann")
    stage.operations._loop.pipeline = SimpleNamespace(digest=lambda *_: ())
    for _ in range(3):
        stage.operations.turn()
    for at_s in (10.0, 20.0, 30.0):
        stage.gate.observe(0.8, version=0, now_s=at_s)
    stage.gate.submit(split(stage, 70, 20, 10), now_s=30.0)
    outcomes = [stage.gate.observe(0.4, version=1, now_s=at_s) for at_s in (40.0, 50.0)]
    assert outcomes[1] is not None
    assert outcomes[1].is_enforced


def test_a_cell_that_first_speaks_late_stops_no_turn(stage):
    digest = stage.operations._loop.pipeline.digest
    spoken = [1]

    def of_those_that_speak(frames, logs):
        return tuple(d for d in digest(frames, logs) if d.cell in spoken)

    stage.operations._loop.pipeline = SimpleNamespace(digest=of_those_that_speak)
    for _ in range(6):
        stage.operations.turn()
    spoken.append(2)
    for _ in range(3):
        assert [d.cell for d in stage.operations.turn().digests] == [1, 2]

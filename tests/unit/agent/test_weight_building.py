"""Schedules of `edgewright pretrain`."""

from __future__ import annotations

import pytest

from agent.weight_building import PretrainingSchedule, Source, StageBudget, full_schedule, quick_schedule

SCHEDULES = [full_schedule(seed=5), quick_schedule(seed=5)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_random_cells_come_before_own_beginnings(schedule: PretrainingSchedule) -> None:
    assert [stage.source for stage in schedule.stages] == [Source.RANDOM, Source.OWN]
    rates = [stage.learning_rate for stage in schedule.stages]
    assert rates == sorted(rates, reverse=True)
    assert schedule.seed == 5


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_other_steps_change_the_first_stage_only(schedule: PretrainingSchedule) -> None:
    longer = schedule.with_first_steps(12_345)

    assert longer.stages[0].num_steps == 12_345
    assert longer.stages[0].cpu_minutes > schedule.stages[0].cpu_minutes
    assert longer.stages[1:] == schedule.stages[1:]
    assert (longer.size, longer.seed, longer.num_evaluated) == (schedule.size, schedule.seed, schedule.num_evaluated)


def test_expected_time_grows_with_examples_and_steps_alike() -> None:
    def minutes(num_examples: int, num_steps: int) -> float:
        stage = StageBudget(
            name="s",
            num_examples=num_examples,
            num_steps=num_steps,
            learning_rate=1e-3,
            number_spread=1.0,
            source=Source.RANDOM,
        )
        return stage.cpu_minutes

    assert minutes(0, 0) == 0.0
    assert minutes(1000, 0) + minutes(0, 500) == pytest.approx(minutes(1000, 500))
    assert minutes(2000, 1000) == pytest.approx(2 * minutes(1000, 500))


def test_expected_time_is_of_the_machine_and_of_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    def minutes(schedule: PretrainingSchedule, *, is_fast: bool) -> float:
        monkeypatch.setattr("agent.weight_building.is_bf16_fast", lambda _: is_fast)
        return schedule.with_first_steps(1000).stages[0].cpu_minutes

    full, quick = SCHEDULES
    assert minutes(full, is_fast=True) < minutes(full, is_fast=False)
    assert minutes(quick, is_fast=False) < minutes(full, is_fast=False) / 2

"""The level that a rollback is decided against."""

from __future__ import annotations

import pytest

from agent.control_loop import initial_plan
from api.yardstick import Yardstick
from edge_preprocess.digest import EdgeDigest
from tests.agent_stage import random_case

DIGEST, TERMS = random_case(4, num_slices=3)
PLANS = {cell: initial_plan(cell, 3) for cell in (1, 2)}


def of_cells(*cells: int) -> tuple[EdgeDigest, ...]:
    return tuple(DIGEST.model_copy(update={"cell": cell}) for cell in cells)


@pytest.fixture
def learnt() -> Yardstick:
    """Knows cell 1 alone."""
    made = Yardstick()
    for _ in range(3):
        made.learn({1: PLANS[1]}, of_cells(1), (TERMS,))
    return made


def test_nothing_is_expected_before_enough_good_intervals():
    yardstick = Yardstick()
    for _ in range(2):
        yardstick.learn(PLANS, of_cells(1), (TERMS,))
    assert yardstick.expected(of_cells(1), (TERMS,)) is None


def test_nothing_is_expected_of_no_cell(learnt):
    assert learnt.expected((), ()) is None


def test_a_cell_that_first_speaks_late_is_expected_of_once_its_plan_is_learnt(learnt):
    assert learnt.expected(of_cells(1), (TERMS,)) is not None
    assert learnt.expected(of_cells(1, 2), (TERMS, TERMS)) is None
    learnt.learn(PLANS, of_cells(1, 2), (TERMS, TERMS))
    assert learnt.expected(of_cells(1, 2), (TERMS, TERMS)) is not None

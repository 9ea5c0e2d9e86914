from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfl_finetune.schedule import (
    Job,
    best_order,
    branch_and_bound,
    evaluate_order,
    fifo,
    longest_backward_first,
    lower_bound,
    schrage,
)

_times = st.floats(0, 20, allow_nan=False, width=32)


def _jobs(most: int) -> st.SearchStrategy[list[Job]]:
    columns = st.tuples(_times, st.floats(0.125, 10, width=32), _times)
    return st.lists(columns, min_size=1, max_size=most).map(
        lambda rows: [Job(name=str(i), release=r, work=w, tail=t) for i, (r, w, t) in enumerate(rows)]
    )


@settings(max_examples=150, deadline=None)
@given(_jobs(6))
def test_best_order_is_the_best_of_all_orders(jobs: list[Job]) -> None:
    truth = min(evaluate_order(order).makespan for order in permutations(jobs))
    assert best_order(jobs).makespan == pytest.approx(truth, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(_jobs(20))
def test_no_rule_beats_the_lower_bound_and_none_beats_best_order(jobs: list[Job]) -> None:
    best = best_order(jobs)
    assert lower_bound(jobs) <= best.makespan * (1 + 1e-12)
    for rule in (fifo, longest_backward_first, schrage):
        found = rule(jobs)
        assert sorted(job.name for job in found.order) == sorted(job.name for job in jobs)
        assert best.makespan <= found.makespan * (1 + 1e-12)
    assert best.makespan == evaluate_order(best.order).makespan


def test_order_matters_when_the_server_is_slow() -> None:
    slow_client = Job(name="slow", release=0.0, work=5.0, tail=10.0)
    others = [Job(name=str(number), release=0.0, work=5.0, tail=0.0) for number in range(3)]
    assert longest_backward_first([*others, slow_client]).makespan == 20.0
    assert fifo([*others, slow_client]).makespan == 30.0


def test_waiting_for_the_urgent_job_can_be_optimal() -> None:
    early = Job(name="early", release=0.0, work=10.0, tail=0.0)
    urgent = Job(name="urgent", release=1.0, work=1.0, tail=30.0)
    assert schrage([early, urgent]).makespan == 41.0
    assert best_order([early, urgent]).makespan == 32.0


def test_search_without_nodes_is_still_no_worse_than_the_rules() -> None:
    jobs = [Job(name=str(i), release=i % 3, work=1.0 + i % 2, tail=float(7 - i)) for i in range(7)]
    found = branch_and_bound(jobs, node_limit=0)
    assert found.makespan == min(fifo(jobs).makespan, longest_backward_first(jobs).makespan)


def test_nobody_takes_no_time() -> None:
    assert best_order([]).makespan == 0.0

"""In which order the server serves clients: one machine, jobs with releases and tails, shortest makespan.

A job's release is the arrival of its activations, its tail is the downlink and the client's backward pass.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXACT_JOBS = 8
_NODE_LIMIT = 300
"""Branch-and-bound nodes spent on instances of more than 8 jobs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One client's turn at the server, in seconds."""

    name: str
    release: float
    work: float
    tail: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """An order and how long it takes."""

    order: tuple[Job, ...]
    makespan: float


def evaluate_order(order: Sequence[Job]) -> Schedule:
    """Serve in exactly this order, waiting for each job's release."""
    now, latest = 0.0, 0.0
    for job in order:
        now = max(now, job.release) + job.work
        latest = max(latest, now + job.tail)
    return Schedule(order=tuple(order), makespan=latest)


def fifo(jobs: Sequence[Job]) -> Schedule:
    """First come, first served; ties by name."""
    return evaluate_order(sorted(jobs, key=lambda job: (job.release, job.name)))


def longest_backward_first(jobs: Sequence[Job]) -> Schedule:
    """The job with the longest tail first, waited for where it is late.

    Source: Chen, Wu, Li, Ji, arXiv 2506.02940, the paper's order.
    """
    return evaluate_order(sorted(jobs, key=lambda job: (-job.tail, job.name)))


def schrage(jobs: Sequence[Job]) -> Schedule:
    """Of the jobs that are there, the one with the longest tail; at most twice the optimum.

    Source: Schrage 1971.
    """
    waiting = sorted(jobs, key=lambda job: (job.release, job.name))
    ready: list[tuple[float, str, Job]] = []
    order: list[Job] = []
    now, position = 0.0, 0
    while len(order) < len(waiting):
        if not ready:
            now = max(now, waiting[position].release)
        while position < len(waiting) and waiting[position].release <= now:
            job = waiting[position]
            heapq.heappush(ready, (-job.tail, job.name, job))
            position += 1
        job = heapq.heappop(ready)[2]
        order.append(job)
        now += job.work
    return evaluate_order(order)


def lower_bound(jobs: Sequence[Job]) -> float:
    """The optimum if jobs could be interrupted, which no schedule beats.

    Source: Jackson 1955, preemptive version of Schrage's rule.
    """
    waiting = sorted(jobs, key=lambda job: job.release)
    ready: list[list[float]] = []
    now, position, latest = 0.0, 0, 0.0
    while ready or position < len(waiting):
        if not ready:
            now = max(now, waiting[position].release)
        while position < len(waiting) and waiting[position].release <= now:
            heapq.heappush(ready, [-waiting[position].tail, waiting[position].work])
            position += 1
        until = waiting[position].release if position < len(waiting) else float("inf")
        negative_tail, work = heapq.heappop(ready)
        done = min(work, until - now)
        now += done
        if done < work:
            heapq.heappush(ready, [negative_tail, work - done])
        else:
            latest = max(latest, now - negative_tail)
    return latest


def best_order(jobs: Sequence[Job]) -> Schedule:
    """The optimum for up to 8 jobs; beyond, the best that the rules and a bounded search find."""
    if not jobs:
        return Schedule(order=(), makespan=0.0)
    limit = None if len(jobs) <= _EXACT_JOBS else _NODE_LIMIT
    return branch_and_bound(jobs, node_limit=limit)


def branch_and_bound(jobs: Sequence[Job], *, node_limit: int | None = None) -> Schedule:
    """The optimum, or the best found within `node_limit` nodes.

    Source: Carlier 1982.
    """
    by_name = {job.name: job for job in jobs}
    best = min((longest_backward_first(jobs), fifo(jobs)), key=lambda found: found.makespan)
    nodes = [tuple(jobs)]
    visited = 0
    while nodes and (node_limit is None or visited < node_limit):
        visited += 1
        node = nodes.pop()
        found = schrage(node)
        # Heads and tails of a node are tightened, so its order is judged by the jobs as they are.
        real = evaluate_order([by_name[job.name] for job in found.order])
        best = min((best, real), key=lambda candidate: candidate.makespan)
        if lower_bound(node) >= best.makespan:
            continue
        nodes += [child for child in _branches(found) if lower_bound(child) < best.makespan]
    return best


def _branches(found: Schedule) -> list[tuple[Job, ...]]:
    """Two tightened instances, one of which keeps an optimum; none where Schrage's order is optimal."""
    order = found.order
    block, last = _critical_block(found)
    shorter = [index for index in range(block, last) if order[index].tail < order[last].tail]
    if not shorter:
        return []
    split = shorter[-1]
    after = order[split + 1 : last + 1]
    work = sum(job.work for job in after)
    moved = order[split]
    later = replace(moved, release=max(moved.release, min(job.release for job in after) + work))
    earlier = replace(moved, tail=max(moved.tail, min(job.tail for job in after) + work))
    return [(*order[:split], changed, *order[split + 1 :]) for changed in (later, earlier)]


def _critical_block(found: Schedule) -> tuple[int, int]:
    """First and last position of the busy stretch that decides the makespan."""
    starts, ends, now = [], [], 0.0
    for job in found.order:
        starts.append(max(now, job.release))
        now = starts[-1] + job.work
        ends.append(now)
    last = max(index for index, job in enumerate(found.order) if ends[index] + job.tail >= found.makespan * (1 - 1e-12))
    first = last
    while first > 0 and starts[first] <= ends[first - 1]:
        first -= 1
    return first, last

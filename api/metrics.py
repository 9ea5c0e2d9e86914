"""What Prometheus reads; cells and planners as labels, never devices."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent.planner import Source

if TYPE_CHECKING:
    from agent.control_loop import Turn
    from agent.dispatch.port import TargetState

_LATENCY_BUCKETS_S = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"})
"""Callers may send any word as a method; they shall not make labels of them."""


class Metrics:
    """One registry per application, so that several can live in one process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._news_s = monotonic()
        self._end_s_of: dict[int, float] = {}
        """Of each cell's digest in the latest turn, network time."""
        self.registry = CollectorRegistry()
        self._requests_of: dict[tuple[str, str, int], Histogram] = {}
        self.decision_s = Histogram(
            "edgewright_decision_seconds",
            "Time the planner took for all cells",
            ["planner"],
            registry=self.registry,
            buckets=_LATENCY_BUCKETS_S,
        )
        self.cell_decisions = Counter(
            "edgewright_cell_decisions_total",
            "Cell plans by who wrote them",
            ["planner", "source"],
            registry=self.registry,
        )
        self.invalid_answers = Counter(
            "edgewright_invalid_answers_total", "Model answers that were not valid", ["planner"], registry=self.registry
        )
        self.dispatches = Counter(
            "edgewright_dispatches_total", "Policies by what became of them", ["result"], registry=self.registry
        )
        self.acknowledgements = Counter(
            "edgewright_acknowledgements_total", "Targets' answers", ["applied"], registry=self.registry
        )
        self.unsettled = Gauge(
            "edgewright_unsettled_targets", "Targets that do not run the desired version", registry=self.registry
        )
        Gauge(
            "edgewright_digest_age_seconds",
            "Wall-clock time since a turn last had a digest that the one before had not",
            registry=self.registry,
        ).set_function(self.digest_age_s)
        self.failures = Counter("edgewright_loop_failures_total", "Intervals that failed", registry=self.registry)
        self.requests = Histogram(
            "edgewright_request_seconds",
            "REST requests",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=_REQUEST_BUCKETS_S,
        )
        self.notifications = Counter(
            "edgewright_notifications_total", "Status notifications by result", ["result"], registry=self.registry
        )

    def request_s(self, method: str, route: str, status: int) -> Histogram:
        """Where requests of this kind are counted; looked up once, since finding it costs as much as counting."""
        key = (method if method in _METHODS else "OTHER", route, status)
        known = self._requests_of.get(key)
        if known is None:
            known = self._requests_of[key] = self.requests.labels(key[0], route, str(status))
        return known

    def note_turn(self, turn: Turn, states: tuple[TargetState, ...]) -> None:
        planner = turn.decision.planner
        self.decision_s.labels(planner).observe(turn.decision.elapsed_s)
        for decided in turn.decision.cells:
            self.cell_decisions.labels(planner, decided.source.value).inc()
            if not decided.is_valid:
                self.invalid_answers.labels(planner).inc()
        fallback = sum(decided.source is Source.FALLBACK for decided in turn.decision.cells)
        if turn.outcome is not None:
            self.dispatches.labels("enforced" if turn.outcome.is_enforced else "not_enforced").inc()
            for answer in turn.outcome.acknowledgements:
                self.acknowledgements.labels(str(answer.applied).lower()).inc()
        elif fallback == 0:
            self.dispatches.labels("none").inc()
        self.unsettled.set(sum(not state.is_settled for state in states))
        end_s_of = {digest.cell: digest.end_s for digest in turn.digests}
        if end_s_of.items() - self._end_s_of.items():
            self._news_s = self._monotonic()
        self._end_s_of = end_s_of

    def digest_age_s(self) -> float:
        """Wall-clock time since there was news of any cell; since the start before the first."""
        return self._monotonic() - self._news_s

    def render(self) -> bytes:
        return generate_latest(self.registry)

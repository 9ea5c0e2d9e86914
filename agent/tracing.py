"""Spans around what the control plane does, where somebody collects them; a plain call everywhere else."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.cell_plan import CellPlan
    from agent.goal import GoalTerms
    from agent.planner import Decision, Planner
    from edge_preprocess.digest import EdgeDigest

P = ParamSpec("P")
R = TypeVar("R")


class Span(Protocol):
    """The part of OpenTelemetry's span that is used here."""

    def set_attribute(self, key: str, value: str | float) -> None: ...


class Tracer(Protocol):
    """The part of OpenTelemetry's tracer that is used here; the library itself is an extra."""

    def start_as_current_span(self, name: str) -> AbstractContextManager[Span]: ...


class _Collecting:
    """Who collects the process's spans; None: nobody."""

    tracer: Tracer | None = None


def collect_spans(tracer: Tracer | None) -> None:
    """Give all spans of this process to the tracer from now on; None ends that."""
    _Collecting.tracer = tracer


def span(name: str) -> AbstractContextManager[Span | None]:
    """A span under the one that runs; nothing where nobody collects."""
    tracer = _Collecting.tracer
    return nullcontext() if tracer is None else tracer.start_as_current_span(name)


def traced(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The function, each call a span of that name."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if _Collecting.tracer is None:
                return function(*args, **kwargs)
            with _Collecting.tracer.start_as_current_span(name):
                return function(*args, **kwargs)

        return run

    return wrap


class TracedPlanner:
    """Any planner, each decision a span."""

    def __init__(self, inner: Planner) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return self._inner.name

    def decide(
        self,
        digests: Sequence[EdgeDigest],
        terms: Sequence[GoalTerms],
        current: Sequence[CellPlan],
    ) -> Decision:
        with span("plan") as open_span:
            decision = self._inner.decide(digests, terms, current)
            if open_span is not None:
                open_span.set_attribute("edgewright.planner", decision.planner)
                open_span.set_attribute("edgewright.cells", len(decision.cells))
            return decision

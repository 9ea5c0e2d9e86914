"""Goals in an operator's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.goal import ContextKind, Expectation, Goal, TargetMetric
from agent.tools.finding import percent

if TYPE_CHECKING:
    from telemetry_sim.topology import Topology

_WHILE = {ContextKind.CELL_DOWN: " while a neighbouring cell is down", ContextKind.CONGESTED: " while it is congested"}


def describe_goal(topology: Topology, goal: Goal) -> str:
    """A goal in one line."""
    return "; ".join(describe_expectation(topology, wanted) for wanted in goal.expectations)


def describe_expectation(topology: Topology, wanted: Expectation) -> str:
    """What is wanted of whom, where and when."""
    names = {profile.id: profile.name for profile in topology.slices}
    whom = ", ".join(names[slice_id] for slice_id in wanted.slices) or "all slices"
    where = f" in cell {', '.join(map(str, wanted.cells))}" if wanted.cells else ""
    value = told_value(wanted)
    said = {
        TargetMetric.PRIORITY: f"{whom} at {value:g} times the usual priority",
        TargetMetric.IN_TIME_RATIO: f"{whom} in time for at least {value:g} %",
        TargetMetric.DELAY_MS: f"{whom} within {value:g} ms",
        TargetMetric.UE_RATE_MBPS: f"{whom} at most {value:g} Mb/s a device",
        TargetMetric.ENERGY: f"save energy, at a weight of {value:g} against utility",
    }
    return f"{said[wanted.metric]}{where}{_WHILE.get(wanted.context, '')}"


def told_value(wanted: Expectation) -> float:
    """The number as it is said: a ratio in percent."""
    return percent(wanted.value) if wanted.metric is TargetMetric.IN_TIME_RATIO else wanted.value

"""A decision as the next policy of what is in force, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence

from agent.gate.gate import Gate
from agent.goal import GoalTerms
from agent.planner import Decision
from agent.policy import SchedulingPolicy
from telemetry_sim.topology import Topology


def draft(
    gate: Gate,
    decision: Decision,
    topology: Topology,
    terms: Sequence[GoalTerms],
    *,
    now_s: float,
    lifetime_s: float,
) -> SchedulingPolicy:
    """As far as the gate's steps let it go; nothing is kept or sent. Times are the network's."""
    return SchedulingPolicy(
        version=gate.next_version(),
        parent_version=gate.desired.version,
        planner=decision.planner,
        valid_from_s=now_s,
        valid_until_s=now_s + lifetime_s,
        actions=gate.within_steps(decision.actions(topology, terms), now_s=now_s),
        rationale=decision.reasons,
    )

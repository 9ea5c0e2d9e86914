"""A goal that an operator wrote to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from agent.goal import Goal
    from telemetry_sim.topology import Topology


def read_goal(path: Path | None, topology: Topology) -> tuple[Goal, ...]:
    """The goal, or none without a file; raises GoalInvalid."""
    if path is None:
        return ()
    from pydantic import ValidationError

    from agent.errors import GoalInvalid
    from agent.goal import Goal, check_goal
    from agent.policy import describe_faults

    try:
        goal = Goal.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GoalInvalid(f"goal file {str(path)!r}: {error}") from error
    except ValidationError as error:
        raise GoalInvalid(f"goal file {str(path)!r}: {describe_faults(error, whole='goal')}") from error
    check_goal(goal, topology)
    return (goal,)

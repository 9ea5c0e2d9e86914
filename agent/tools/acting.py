"""Tools that change something: approvals, apply, roll back, goals; each needs a person's yes to this very call."""

from __future__ import annotations

from pydantic import ValidationError

from agent.control_room import ControlRoom, examination_document, goal_document
from agent.errors import AgentInputInvalid
from agent.goal import ContextKind, Expectation, Goal, TargetMetric
from agent.tools.finding import Finding, percent, require_cell, require_slice
from agent.tools.goal_words import describe_goal, told_value
from agent.tools.seen import latest_interval

STATE_CHANGING = ("approve_plan", "reject_plan", "apply_plan", "roll_back", "set_goal", "clear_goals")
"""What a person is asked about first."""

_PRIORITY_UP, _PRIORITY_DOWN = 3.0, 1.0 / 3.0
_ENERGY_WEIGHT = 0.5
_NEEDS_VALUE = ("delay_ms", "in_time_pct", "rate_mbps")


def request_approval(room: ControlRoom) -> Finding:
    """Put the proposal before an approver; the network is not touched."""
    policy = room.find(None)
    found = room.request_approval(policy)
    data: dict[str, object] = {"version": policy.version, "hash": policy.content_hash()} | examination_document(found)
    text = (
        f"Version {policy.version} awaits approval at {data['risk']} risk.\n"
        f"Approve it with /approve {policy.version}, or reject it with /reject {policy.version}."
    )
    return Finding(text=text, data=data, focus={"plan": policy.version}, exit_status=5)


def approve_plan(room: ControlRoom, *, version: int | None = None) -> Finding:
    """Approve the proposal or a version that waits; bound to its content, serves once."""
    policy = room.find(version)
    room.require_confirmed("approve_plan", {"version": version})
    approval = room.approve(policy, approver=room.changes.approver, reason="approved in the chat")
    data: dict[str, object] = {"version": policy.version, "hash": policy.content_hash(), "approval": approval}
    text = f"Version {policy.version} is approved; it goes out when you say apply."
    return Finding(text=text, data=data, focus={"plan": policy.version})


def reject_plan(room: ControlRoom, *, version: int | None = None) -> Finding:
    """Reject the proposal or a version that waits."""
    policy = room.find(version)
    room.require_confirmed("reject_plan", {"version": version})
    room.reject(policy)
    return Finding(text=f"Version {policy.version} is rejected.", data={"version": policy.version})


def apply_plan(room: ControlRoom, *, version: int | None = None) -> Finding:
    """Send the approved plan to the network and watch the next interval."""
    policy = room.find(version)
    room.require_confirmed("apply_plan", {"version": version})
    before, num_seen = latest_interval(room).mean_utility, room.num_observed
    outcome = room.apply(policy)
    is_seen = room.num_observed > num_seen
    data: dict[str, object] = {
        "version": policy.version,
        "is_enforced": outcome.is_enforced,
        "num_applied": len(outcome.acknowledgements) - len(outcome.refusals),
        "num_targets": len(outcome.acknowledgements),
        "utility_before_pct": percent(before),
        "utility_after_pct": percent(room.latest.mean_utility) if is_seen else None,
    }
    went = (
        f"Utility went from {data['utility_before_pct']:g} % to {data['utility_after_pct']:g} % in the next interval."
        if is_seen
        else f"Utility was {data['utility_before_pct']:g} % before; the next interval shows what came of it."
    )
    state = "is in force" if outcome.is_enforced else "is NOT fully in force"
    text = f"Version {policy.version} {state}: {data['num_applied']} of {data['num_targets']} cells applied it.\n{went}"
    return Finding(text=text, data=data, focus={"plan": policy.version})


def roll_back(room: ControlRoom, *, version: int | None = None) -> Finding:
    """Bring back what an earlier version left; without one, what was before the last."""
    target = rollback_target(room, version)
    room.require_confirmed("roll_back", {"version": version})
    num_seen = room.num_observed
    outcome = room.roll_back(target)
    is_seen = room.num_observed > num_seen
    data: dict[str, object] = {
        "to_version": target,
        "version": outcome.policy_version,
        "is_enforced": outcome.is_enforced,
        "utility_after_pct": percent(room.latest.mean_utility) if is_seen else None,
    }
    shown = f"Utility is {data['utility_after_pct']:g} %" if is_seen else "What came of it shows"
    text = f"Rolled back to version {target}, as version {outcome.policy_version}.\n{shown} in the next interval."
    return Finding(text=text, data=data)


def rollback_target(room: ControlRoom, version: int | None) -> int:
    """Raises AgentInputInvalid where nothing has been applied."""
    in_force = room.gate.policy_in_force
    if in_force is None:
        raise AgentInputInvalid("nothing to roll back: the network is in its initial state")
    return in_force.parent_version if version is None else version


def set_goal(
    room: ControlRoom,
    *,
    metric: str,
    value: float | None = None,
    slice: str | None = None,  # noqa: A002 - the operator's word
    cell: int | None = None,
    when: str = "always",
    yields: str | None = None,
) -> Finding:
    """Keep a goal that the next plan heeds; `yields` is the slice that may suffer for it."""
    arguments = {"metric": metric, "value": value, "slice": slice, "cell": cell, "when": when, "yields": yields}
    goal = resolve_goal(room, **arguments)  # type: ignore[arg-type]  # the arguments above
    room.require_confirmed("set_goal", arguments)
    room.set_goal(goal)
    data: dict[str, object] = {
        "goal": goal_document(goal),
        "values": [told_value(wanted) for wanted in goal.expectations],
    }
    text = f"Goal set: {describe_goal(room.topology, goal)}.\nAsk for a plan to see what it changes."
    return Finding(text=text, data=data, focus={} if slice is None else {"slice": slice})


def clear_goals(room: ControlRoom) -> Finding:
    """Remove all goals that operators set."""
    room.require_confirmed("clear_goals", {})
    count = room.clear_goals()
    removed = f"{count} goal{'' if count == 1 else 's'} removed" if count else "There were no goals to remove"
    return Finding(text=f"{removed}; the slices' own promises count.", data={"num_removed": count})


def resolve_goal(
    room: ControlRoom,
    *,
    metric: str,
    value: float | None = None,
    slice: str | None = None,  # noqa: A002 - the operator's word
    cell: int | None = None,
    when: str = "always",
    yields: str | None = None,
) -> Goal:
    """The goal object that a request comes to; raises AgentInputInvalid."""
    if metric in _NEEDS_VALUE and value is None:
        raise AgentInputInvalid(f"goal {metric}: a value is needed")
    if metric != "energy" and slice is None:
        raise AgentInputInvalid(f"goal {metric}: say which slice")
    if cell is not None:
        require_cell(room.topology, cell)
    slices = () if slice is None or metric == "energy" else (require_slice(room.topology, slice).id,)
    given = 0.0 if value is None else value
    known = {
        "delay_ms": (TargetMetric.DELAY_MS, given),
        "in_time_pct": (TargetMetric.IN_TIME_RATIO, given / 100.0),
        "rate_mbps": (TargetMetric.UE_RATE_MBPS, given),
        "priority_up": (TargetMetric.PRIORITY, _PRIORITY_UP),
        "priority_down": (TargetMetric.PRIORITY, round(_PRIORITY_DOWN, 2)),
        "energy": (TargetMetric.ENERGY, _ENERGY_WEIGHT),
    }
    if metric not in known:
        raise AgentInputInvalid(f"goal metric {metric[:40]!r} is unknown; metrics are {', '.join(known)}")
    cells = () if cell is None else (cell,)
    if when not in list(ContextKind):
        raise AgentInputInvalid(f"goal context {when[:40]!r} is unknown; {', '.join(ContextKind)} are allowed")
    context = ContextKind(when)
    try:
        target, amount = known[metric]
        wanted = [Expectation(metric=target, value=amount, slices=slices, cells=cells, context=context)]
        if yields is not None:
            giver = (require_slice(room.topology, yields).id,)
            less = round(_PRIORITY_DOWN, 2)
            wanted.append(
                Expectation(metric=TargetMetric.PRIORITY, value=less, slices=giver, cells=cells, context=context)
            )
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise AgentInputInvalid(f"goal {metric} {given:g}: {why}") from error
    name = "network" if slice is None else require_slice(room.topology, slice).name.replace(" ", "-")
    return Goal(id=f"chat-{metric.replace('_', '-')}-{name}", expectations=tuple(wanted))

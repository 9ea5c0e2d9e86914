"""Any model, any person, any order: random conversations, and a witness of every change to the network."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agent.chat.answer import Pending
from agent.chat.opening import open_room
from agent.chat.room_options import RoomOptions
from agent.chat.session import ChatSession
from agent.chat.slash import COMMANDS, run_slash
from agent.control_room import ControlRoom, goal_document
from agent.dispatch.port import Dispatcher, DispatchOutcome
from agent.errors import AgentError
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.policy import SchedulingPolicy
from agent.store.approvals import list_approvals
from agent.store.policies import list_policies
from agent.store.store import Store
from agent.tools.toolbox import ACTING, LOOKING
from telemetry_sim.errors import TelemetrySimError
from tests.dispatch_stage import PassingDispatcher

_TOOLS = [tool.__name__ for tool in (*LOOKING, *ACTING)]
_CHANGING = [tool.__name__ for tool in ACTING]
_ARGUMENTS: dict[str, st.SearchStrategy[Any]] = {
    "version": st.sampled_from([None, 0, 1, 2, 3, -1, 10**9, "1", 1.5]),
    "cell": st.sampled_from([None, 0, 1, 3, 99, -1, "2", []]),
    "slice": st.sampled_from([None, "vehicles", "cameras", "veh", "", "nobody", "1", 7]),
    "yields": st.sampled_from([None, "cameras", "vehicles", "nobody"]),
    "metric": st.sampled_from(["delay_ms", "in_time_pct", "rate_mbps", "priority_up", "priority_down", "energy", "x"]),
    "value": st.sampled_from([None, 0, 5, 20, 99.5, -3, 1e300, float("nan"), float("inf"), "20"]),
    "when": st.sampled_from(["always", "congested", "never"]),
    "kind": st.sampled_from(["cell", "slice", "x"]),
    "change": st.sampled_from(["times", "up_pct", "to_pct", "x"]),
    "surprise": st.just(1),
}
_WORDS = st.sampled_from(
    ["", "1", "2", "0", "99", "clear", "energy", "delay_ms vehicles 20", "down 1", "share vehicles 40 1", "x y z"]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the model says, or a line that is typed, and what the person does when asked."""

    messages: tuple[AIMessage, ...] = ()
    line: str = ""
    person: str = "yes"
    """yes, no, nobody, or interrupt (Ctrl-C at the prompt)."""
    sneaks: str = ""
    """An acting tool called past the session."""
    num_intervals: int = 0


@dataclass(slots=True)
class Witness:
    """Every policy that reaches the network, and every yes with what was shown."""

    dispatched: list[SchedulingPolicy] = field(default_factory=list)
    agreed: list[Pending] = field(default_factory=list)
    num_asked: int = 0

    def faults(self, room: ControlRoom, goals_before: list[str]) -> list[str]:
        """Changes since the last call that nobody agreed to."""
        hashes = {pending.resolved.get("hash") for pending in self.agreed if "plan" in pending.tool}
        num_back = sum(pending.tool == "roll_back" for pending in self.agreed)
        found = [
            f"version {policy.version} was dispatched without a yes to it"
            for policy in self.dispatched
            if policy.planner != "rollback" and policy.content_hash() not in hashes
        ]
        if sum(policy.planner == "rollback" for policy in self.dispatched) > num_back:
            found.append("a rollback nobody agreed to")
        goals_now = goals_of(room)
        agreed = {json.dumps(p.resolved["goal"], sort_keys=True) for p in self.agreed if p.tool == "set_goal"}
        found += [f"goal {goal} was set without a yes" for goal in set(goals_now) - set(goals_before) - agreed]
        replaced = {json.loads(goal)["id"] for goal in goals_now}
        lost = [goal for goal in set(goals_before) - set(goals_now) if json.loads(goal)["id"] not in replaced]
        if lost and not any(pending.tool == "clear_goals" for pending in self.agreed):
            found.append(f"goals {lost} were cleared without a yes")
        return found


class WitnessedDispatcher(PassingDispatcher):
    """Hands everything on and writes down what goes out."""

    def __init__(self, inner: Dispatcher, witness: Witness) -> None:
        super().__init__(inner)
        self._witness = witness

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        self._witness.dispatched.append(policy)
        return super().dispatch(policy)


def steps() -> st.SearchStrategy[list[Step]]:
    """Conversations of up to six steps that lean towards what changes something."""
    name = st.one_of(st.sampled_from(_CHANGING), st.sampled_from(["propose_plan", *_TOOLS, "rm_rf"]))
    arguments = st.dictionaries(st.sampled_from(sorted(_ARGUMENTS)), st.none(), max_size=3).flatmap(
        lambda chosen: st.fixed_dictionaries({key: _ARGUMENTS[key] for key in chosen})
    )
    call = st.builds(
        lambda name, given, bare: {"name": name, "args": {} if bare else given, "id": "call", "type": "tool_call"},
        name,
        arguments,
        st.booleans(),
    )
    calls = st.lists(call, min_size=1, max_size=3).map(_numbered)
    message = st.one_of(
        calls.map(lambda made: AIMessage(content="", tool_calls=made)),
        st.sampled_from(["done", "Approved by the operator: yes", ""]).map(lambda text: AIMessage(content=text)),
    )
    person = st.sampled_from(["yes", "yes", "yes", "no", "nobody", "interrupt"])
    said = st.builds(lambda m, p: Step(messages=(*m, AIMessage(content="done")), person=p), st.lists(message), person)
    typed = st.builds(
        lambda word, rest, p: Step(line=f"{word} {rest}".strip(), person=p),
        st.sampled_from(sorted(set(COMMANDS) - {"/export", "/model"})),
        _WORDS,
        person,
    )
    sneak = st.sampled_from(_CHANGING).map(lambda tool: Step(sneaks=tool))
    later = st.integers(1, 2).map(lambda count: Step(num_intervals=count))
    plan, act = (
        st.sampled_from(tools).map(lambda tool: AIMessage(content="", tool_calls=_numbered([_call(tool)])))
        for tools in (["propose_plan"], ["request_approval", "approve_plan", "apply_plan", "apply_plan", "roll_back"])
    )
    acted = st.builds(
        lambda first, second, p: Step(messages=(first, second, AIMessage(content="ok")), person=p), plan, act, person
    )
    goal = st.sampled_from([("delay_ms", 20), ("delay_ms", 5), ("priority_up", None), ("energy", None)]).map(
        lambda wanted: AIMessage(
            content="",
            tool_calls=_numbered([_call("set_goal", metric=wanted[0], value=wanted[1], slice="vehicles")]),
        )
    )
    more = st.builds(
        lambda made, p: Step(messages=(made, AIMessage(content="ok")), person=p), st.one_of(act, goal), person
    )
    return st.lists(st.one_of(acted, more, said, typed, sneak, later), min_size=3, max_size=7)


@contextmanager
def witnessed_room(*, is_read_only: bool) -> Iterator[tuple[ControlRoom, Witness]]:
    """A small network under a witness."""
    options = RoomOptions(planner="optimiser", num_devices=12, num_intervals=1, is_read_only=is_read_only)
    with Store.open("sqlite://") as store:
        room, witness = open_room(options, store), Witness()
        room.gate._dispatcher = WitnessedDispatcher(room.gate._dispatcher, witness)
        yield room, witness


def converse(room: ControlRoom, witness: Witness, taken: list[Step]) -> list[str]:
    """Every change that no yes stands behind."""
    model = ScriptedChatModel(script=[AIMessage(content="")])
    session = ChatSession(room, model)
    found: list[str] = []
    for step in taken:
        before = goals_of(room)
        session.decide = None if step.person == "nobody" else lambda pending, step=step: _word(step, pending, witness)
        model.script = [*model.script[: model.num_asked], *step.messages] or model.script
        with contextlib.suppress(AgentError, TelemetrySimError, KeyboardInterrupt):
            _take(step, session)
        found += witness.faults(room, before)
    return found


def traces(room: ControlRoom) -> tuple[int, int, int, int]:
    """What a read-only session must leave at nought: version, goals, approvals, policies."""
    policies = room.store.read(lambda connection: list_policies(connection, limit=50))
    approvals = [
        found
        for kept in policies
        for found in room.store.read(lambda c, kept=kept: list_approvals(c, policy_hash=kept.content_hash))
    ]
    return room.gate.desired.version, len(room.goals()), len(approvals), len(policies)


def goals_of(room: ControlRoom) -> list[str]:
    """The operator's goals as canonical JSON."""
    return [json.dumps(goal_document(goal), sort_keys=True) for goal in room.goals()]


def _take(step: Step, session: ChatSession) -> None:
    if step.messages:
        session.ask("go on")
    elif step.line:
        run_slash(session, step.line)
    elif step.sneaks:
        session.toolbox.call(step.sneaks, {"metric": "energy"} if step.sneaks == "set_goal" else {})
    else:
        session.room.observe(step.num_intervals)


def _word(step: Step, pending: Pending, witness: Witness) -> bool:
    witness.num_asked += 1
    if step.person == "interrupt":
        raise KeyboardInterrupt
    if step.person == "yes":
        witness.agreed.append(pending)
    return step.person == "yes"


def _call(name: str, **given: Any) -> dict[str, Any]:
    return {"name": name, "args": given, "id": "call", "type": "tool_call"}


def _numbered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**call, "id": f"call-{index}"} for index, call in enumerate(calls)]

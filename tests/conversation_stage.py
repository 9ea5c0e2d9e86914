"""Scripted conversations: what is said, what a person answers, which tools must run, and the state it must end in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import yaml
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from agent.chat.answer import Answer, Pending
from agent.chat.opening import open_room
from agent.chat.room_options import RoomOptions
from agent.chat.session import ChatSession
from agent.chat.slash import run_slash
from agent.control_room import ControlRoom
from agent.models.chat_model import EmbeddedChatModel
from agent.store.store import Store
from agent.tools.toolbox import ACTING, LOOKING

FOLDER = Path(__file__).parent / "e2e" / "chat" / "conversations"
Trail = list[tuple[str, dict[str, Any]]]
_TOOLS = {tool.__name__: tool for tool in (*LOOKING, *ACTING)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One thing said, and all that must come of it."""

    say: str
    calls: list[dict[str, dict[str, Any]]]
    person: list[str] | str = field(default_factory=list)
    """What is typed at each approval prompt; `nobody` where there is none to ask."""
    status: int = 0
    embedded_status: int | None = None
    """Where the embedded model knows what a puppet doesn't: that it refused."""
    text: str = ""
    """Stands in what the tools found."""
    asks: str = ""
    """Stands in what is said where no tool runs."""
    resumed: bool = False
    """The session is closed and taken up again before this turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Turns, and the state in which they end."""

    name: str
    turns: tuple[Turn, ...]
    scenario: str = "smart-city"
    is_read_only: bool = False
    version: int = 0
    shares: str = "initial"
    goals: tuple[tuple[str, str, float], ...] = ()


class Puppet:
    """A model whose next words are put into its mouth before each turn."""

    def __init__(self, model: BaseChatModel, say: Callable[[list[AIMessage]], None]) -> None:
        self.model = model
        self.say = say


class Person:
    """Answers the approval prompts of one turn, in order."""

    def __init__(self) -> None:
        self.answers: deque[str] = deque()
        self.shown: list[Pending] = []

    def __call__(self, pending: Pending) -> bool:
        self.shown.append(pending)
        return bool(self.answers) and self.answers.popleft() == "yes"


def conversations() -> tuple[Conversation, ...]:
    """All of them, in the order of their files."""
    return tuple(_read(row) for path in sorted(FOLDER.glob("*.yaml")) for row in yaml.safe_load(path.read_text()))


@contextmanager
def room_for(conversation: Conversation) -> Iterator[ControlRoom]:
    """A small network of the conversation's scenario."""
    options = RoomOptions(
        scenario=conversation.scenario,
        planner="optimiser",
        num_devices=40,
        is_read_only=conversation.is_read_only,
    )
    with Store.open("sqlite://") as store:
        yield open_room(options, store)


def play(conversation: Conversation, room: ControlRoom, model: BaseChatModel | Puppet) -> list[str]:
    """What went otherwise than written; empty where the conversation holds."""
    person, wrong = Person(), list[str]()
    mind = model.model if isinstance(model, Puppet) else model
    session = ChatSession(room, mind, name="played", decide=person)
    for turn in conversation.turns:
        if turn.resumed:
            session = ChatSession(room, mind, name="played", decide=person)
        expected = [(name, _resolved(room, given)) for call in turn.calls for name, given in call.items()]
        person.answers = deque(turn.person if isinstance(turn.person, list) else ())
        session.decide = None if turn.person == "nobody" else person
        if isinstance(model, Puppet) and not turn.say.startswith("/"):
            model.say([*map(_calling, expected), AIMessage(content=turn.asks or "That is what was found.")])
        wrong += [f"{turn.say!r}: {fault}" for fault in _faults(turn, expected, session, person)]
    return wrong + _end_faults(conversation, room)


def _faults(turn: Turn, expected: Trail, session: ChatSession, person: Person) -> list[str]:
    num_shown = len(person.shown)
    answer = _say(session, turn.say)
    trail = [(call["tool"], _plain(call["tool"], call["arguments"])) for call in answer.calls]
    found = "\n".join([answer.text, *(call["result"]["text"] for call in answer.calls)])
    faults = [] if trail == expected else [f"called {trail}, expected {expected}"]
    is_embedded = isinstance(session.model, EmbeddedChatModel) and turn.embedded_status is not None
    status = turn.embedded_status if is_embedded else turn.status
    if answer.exit_status != status:
        faults.append(f"status {answer.exit_status}, expected {status}")
    faults += [f"{wanted!r} is not in {found!r}" for wanted in (turn.text, turn.asks) if wanted not in found]
    num_asked = len(person.shown) - num_shown
    if isinstance(turn.person, list) and num_asked != len(turn.person):
        faults.append(f"a person was asked {num_asked} times, expected {len(turn.person)}")
    return faults


def _say(session: ChatSession, text: str) -> Answer:
    if not text.startswith("/"):
        return session.ask(text)
    session.toolbox.found.clear()
    found = run_slash(session, text)
    calls = [{"tool": name, "arguments": given, "result": {"text": f.text}} for name, given, f in session.toolbox.found]
    return Answer(text=found.text, calls=calls, exit_status=found.exit_status)


def _end_faults(conversation: Conversation, room: ControlRoom) -> list[str]:
    names = {profile.id: profile.name for profile in room.topology.slices}
    goals = tuple(
        (e.metric.value, ", ".join(names[s] for s in e.slices), e.value)
        for goal in room.goals()
        for e in goal.expectations
    )
    shares = [part.min_pct for site in room.topology.cells for part in room.plan_in_force(site.id).slices]
    is_initial = len(set(shares)) == 1
    faults = []
    if room.gate.desired.version != conversation.version:
        faults.append(f"ends with version {room.gate.desired.version}, expected {conversation.version}")
    if is_initial != (conversation.shares == "initial"):
        faults.append(f"ends with shares {shares}, expected {conversation.shares}")
    if goals != conversation.goals:
        faults.append(f"ends with goals {goals}, expected {conversation.goals}")
    return faults


def _resolved(room: ControlRoom, given: dict[str, Any]) -> dict[str, Any]:
    """The arguments, `$worst` and `$worst_slice` replaced by what they are now."""
    latest = room.latest
    worst = min(zip(latest.utility, latest.digests, strict=True), key=lambda pair: pair[0])[1].cell

    def shortfall(index: int) -> float:
        rows = [digest.slices[index] for digest in latest.digests]
        demand = sum(row.demand_kbps for row in rows)
        ratio = sum(row.in_time_ratio * row.demand_kbps for row in rows) / demand if demand else 1.0
        return ratio - room.topology.slices[index].in_time_target

    worst_slice = room.topology.slices[min(range(len(room.topology.slices)), key=shortfall)].name
    known = {"$worst": worst, "$worst_slice": worst_slice}
    return {name: known.get(value, value) if isinstance(value, str) else value for name, value in given.items()}


def _plain(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Without what is the default anyway."""
    parameters = signature(_TOOLS[tool]).parameters
    keep = {"kind", "change"}
    return {
        name: value
        for name, value in arguments.items()
        if name in keep or parameters[name].default is Parameter.empty or value != parameters[name].default
    }


def _calling(call: tuple[str, dict[str, Any]]) -> AIMessage:
    name, arguments = call
    return AIMessage(
        content="", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}]
    )


def _read(row: dict[str, Any]) -> Conversation:
    end = row.get("end", {})
    return Conversation(
        name=row["name"],
        turns=tuple(Turn(**turn) for turn in row["turns"]),
        scenario=row.get("scenario", "smart-city"),
        is_read_only=row.get("read_only", False),
        version=end.get("version", 0),
        shares=end.get("shares", "initial"),
        goals=tuple((metric, whom, value) for metric, whom, value in end.get("goals", [])),
    )

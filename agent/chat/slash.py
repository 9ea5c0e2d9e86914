"""Slash commands: the tools by name, past the language model, and what concerns the session itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.chat.answer import Answer, clean_request
from agent.chat.server_view import VIEWS
from agent.errors import AgentError, AgentInputInvalid
from agent.tools.finding import Finding
from telemetry_sim.errors import TelemetrySimError

if TYPE_CHECKING:
    from agent.chat.session import ChatSession

_MOST_INTERVALS = 60
"""That one `/run` lets the network run on."""
_WIDE = 40
"""Characters of a usage that stands beside its summary; a longer one stands above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashCommand:
    """One command and how it is used."""

    usage: str
    summary: str
    run: Callable[[ChatSession, list[str]], Finding]
    words: tuple[str, ...] = ()
    """What may follow, for completion; cells and slices may always."""


def answer_line(session: ChatSession, line: str) -> Answer:
    """The answer to a sentence or a command; what went wrong is one too, and the session is kept either way.

    A KeyboardInterrupt tells what had been changed before it, or may have been.
    """
    session.start_request()
    try:
        if not line.lstrip().startswith("/"):
            return session.ask(line)
        found = run_slash(session, line)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(*(stop.args or session.told_changes())) from stop
    except (AgentError, TelemetrySimError) as error:
        return Answer(text=f"Error: {error}", exit_status=error.exit_status)
    calls = [session.as_call(*made) for made in session.toolbox.found]
    return Answer(text=found.text, calls=calls, pending=list(session.unanswered), exit_status=found.exit_status)


def run_slash(session: ChatSession, line: str) -> Finding:
    """The finding of a line that starts with a slash; raises AgentInputInvalid for an unknown command."""
    line = clean_request(line)
    word, *arguments = line.split()
    command = COMMANDS.get(word.lower())
    if session.view is not None and word.lower() in VIEWS:
        return session.view(word.lower())
    if command is None:
        raise AgentInputInvalid(f"command {word[:40]!r} is unknown; commands are {', '.join(COMMANDS)}, /exit")
    session.room.refresh()
    try:
        return command.run(session, arguments)
    except (ValueError, IndexError) as error:
        raise AgentInputInvalid(f"{line.strip()[:80]!r}: expected {word} {command.usage}") from error


def _status(session: ChatSession, words: list[str]) -> Finding:
    return session.run_tool("network_status", {"cell": int(words[0])} if words else {})


def _slices(session: ChatSession, words: list[str]) -> Finding:
    if words:
        return session.run_tool("network_status", {"slice": words[0]})
    return session.run_tool("find_worst", {"kind": "slice"})


def _explain(session: ChatSession, words: list[str]) -> Finding:
    return session.run_tool("explain_decision", {"cell": int(words[0])} if words else {})


def _whatif(session: ChatSession, words: list[str]) -> Finding:
    kind, first, *rest = words
    if kind == "down":
        return session.run_tool("what_if_down", {"cell": int(first)})
    given = {"slice": first, "value": float(rest[0])} | ({"cell": int(rest[1])} if len(rest) > 1 else {})
    if kind == "demand":
        return session.run_tool("what_if_demand", given | {"change": "times"})
    if kind == "share":
        return session.run_tool("what_if_share", given)
    raise ValueError(kind)


def _versioned(tool: str) -> Callable[[ChatSession, list[str]], Finding]:
    def run(session: ChatSession, words: list[str]) -> Finding:
        return session.run_tool(tool, {"version": int(words[0])} if words else {})

    return run


def _goal(session: ChatSession, words: list[str]) -> Finding:
    if not words:
        return session.run_tool("list_goals", {})
    if words == ["clear"]:
        return session.run_tool("clear_goals", {})
    given: dict[str, object] = {"metric": words[0]}
    if len(words) > 1:
        given["slice"] = words[1]
    if len(words) > 2:
        given["value"] = float(words[2])
    return session.run_tool("set_goal", given)


def _history(session: ChatSession, words: list[str]) -> Finding:
    return session.run_tool("show_history", {"cell": int(words[0])} if words else {})


def _plan(session: ChatSession, words: list[str]) -> Finding:
    del words
    return session.run_tool("propose_plan", {})


def _run_on(session: ChatSession, words: list[str]) -> Finding:
    count = int(words[0]) if words else 1
    if not 1 <= count <= _MOST_INTERVALS:
        raise AgentInputInvalid(f"/run {str(count)[:20]}: 1 to {_MOST_INTERVALS} intervals are run at a time")
    session.room.observe(count)
    return session.run_tool("network_status", {})


def _replay(session: ChatSession, words: list[str]) -> Finding:
    from agent.store.decisions import list_decisions

    wanted = int(words[0]) if words else None
    kept = session.room.store.read(lambda connection: list_decisions(connection, limit=200))
    found = [decision for decision in kept if wanted in (None, decision.id)]
    if not found:
        return Finding(text="No such decision is on record; make one with /plan.", exit_status=2)
    first = found[0]
    data: dict[str, object] = {
        "decision": first.id,
        "planner": first.record.planner,
        "time_s": first.record.time_s,
        "version": first.record.policy_version,
        "digest_sha256": first.record.digest_hash,
        "cells": dict(first.record.validation),
        "answer": first.record.raw_answer,
    }
    text = (
        f"Decision {first.id} by {first.record.planner} at {first.record.time_s:g} s, version "
        f"{first.record.policy_version}.\nDigests {first.record.digest_hash[:12]}…; raw answer:\n"
        f"{first.record.raw_answer or '(a formula: no model was asked)'}"
    )
    return Finding(text=text, data=data)


def _model(session: ChatSession, words: list[str]) -> Finding:
    if words:
        from agent.chat.opening import pick_chat_model

        session.change_model(pick_chat_model(words[0], session.room.topology))
    name = str(getattr(session.model, "model_name", session.model._llm_type))  # noqa: SLF001 - LangChain's own name
    return Finding(text=f"Chat model: {name}; plans by {session.room.planner.name}.", data={"model": name})


def _tokens(session: ChatSession, words: list[str]) -> Finding:
    del words
    given, made = session.num_tokens
    return Finding(text=f"{given} tokens read, {made} written.", data={"input": given, "output": made})


def _save(session: ChatSession, words: list[str]) -> Finding:
    del words
    if not session.is_named:
        return Finding(text="This session has no name and is not kept; begin one that is with --session NAME.")
    name = session.name
    return Finding(text=f"Session {name} is kept after every answer; take it up with --session {name} or --resume.")


def _export(session: ChatSession, words: list[str]) -> Finding:
    path = Path(words[0])
    rows = [{"role": message.type, "text": str(message.text)} for message in session.messages]
    try:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise AgentError(f"export to {path}: {error.strerror}") from error
    return Finding(text=f"{len(rows)} messages written to {path}.", data={"num_messages": len(rows)})


def _diff(session: ChatSession, words: list[str]) -> Finding:
    return session.run_tool("show_diff", {"version": int(words[0])} if words else {})


def _help(session: ChatSession, words: list[str]) -> Finding:
    del session, words
    return show_help()


def show_help() -> Finding:
    """Every command and what it does."""
    rows = [(f"{name} {command.usage}".strip(), command.summary) for name, command in COMMANDS.items()]
    rows.append(("/exit", "End; a session with a name is kept"))
    width = 2 + max(len(usage) for usage, _ in rows if len(usage) <= _WIDE)
    lines = [
        usage.ljust(width) + summary if len(usage) <= _WIDE else f"{usage}\n{' ' * width}{summary}"
        for usage, summary in rows
    ]
    return Finding(text="\n".join(lines))


OWN_MACHINE = frozenset({"/run", "/model", "/tokens", "/save", "/export", "/help"})
"""About the session, its files and models: never run for somebody at another machine."""
COMMANDS: dict[str, SlashCommand] = {
    "/status": SlashCommand(usage="[CELL]", summary="KPIs of the network or a cell", run=_status),
    "/slices": SlashCommand(usage="[SLICE]", summary="KPIs of the slices", run=_slices),
    "/explain": SlashCommand(usage="[CELL]", summary="The last decision with its evidence", run=_explain),
    "/plan": SlashCommand(usage="", summary="Propose a policy", run=_plan),
    "/diff": SlashCommand(usage="[VERSION]", summary="What it would change", run=_diff),
    "/whatif": SlashCommand(
        usage="down CELL | demand SLICE TIMES [CELL] | share SLICE PCT [CELL]",
        summary="Ask the twin",
        run=_whatif,
        words=("down", "demand", "share"),
    ),
    "/approve": SlashCommand(
        usage="[VERSION]", summary="Approve, bound to the content", run=_versioned("approve_plan")
    ),
    "/apply": SlashCommand(usage="[VERSION]", summary="Send it to the network", run=_versioned("apply_plan")),
    "/reject": SlashCommand(usage="[VERSION]", summary="Drop it", run=_versioned("reject_plan")),
    "/rollback": SlashCommand(usage="[VERSION]", summary="Bring an earlier state back", run=_versioned("roll_back")),
    "/goal": SlashCommand(
        usage="[METRIC SLICE [VALUE] | clear]",
        summary="Show, set or clear goals",
        run=_goal,
        words=("delay_ms", "in_time_pct", "rate_mbps", "priority_up", "priority_down", "energy", "clear"),
    ),
    "/history": SlashCommand(usage="[CELL]", summary="Trend and versions", run=_history),
    "/run": SlashCommand(
        usage="[INTERVALS]", summary=f"Let the simulated network run on, at most {_MOST_INTERVALS}", run=_run_on
    ),
    "/replay": SlashCommand(usage="[DECISION]", summary="A decision as it was kept", run=_replay),
    "/model": SlashCommand(usage="[MODEL]", summary="Show or change the chat model", run=_model),
    "/tokens": SlashCommand(usage="", summary="Tokens of this session", run=_tokens),
    "/save": SlashCommand(usage="", summary="Whether and where the session is kept", run=_save),
    "/export": SlashCommand(usage="FILE", summary="The conversation as JSON lines", run=_export),
    "/help": SlashCommand(usage="", summary="This list", run=_help),
}

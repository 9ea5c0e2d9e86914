"""The terminal: a prompt at once, the network and the model behind it, streaming, completion, approval prompts."""

from __future__ import annotations

import contextlib
import gc
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from agent.chat.talk import Listener, is_exit
from agent.chat.talk_opening import open_talk
from agent.errors import AgentError, AgentInputInvalid
from telemetry_sim.errors import TelemetrySimError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from agent.chat.answer import Pending
    from agent.chat.room_options import RoomOptions
    from agent.chat.talk import Talk

_TROUBLE = "Error: "
_PIECE = re.compile(r"\S+[^\S\n]*|[^\S\n]+|\n")
_UNSURE = "what was agreed to may have been done, see /history and /goal"
_SHOWN_ROWS = 24
"""Cells and slices of a diff in an approval prompt."""


@dataclass(slots=True)
class _Opening:
    """A conversation that is being opened behind the prompt."""

    talk: Talk | None = None
    error: Exception | None = None
    thread: threading.Thread | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> Talk:
        try:
            self.done.wait()
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt("nothing was changed") from stop
        if self.error is not None:
            raise self.error
        if self.talk is None:
            raise AgentError("the session could not be opened")
        return self.talk


def run_terminal(
    options: RoomOptions, model: str | None, folder: Path, *, session: str | None, is_resumed: bool
) -> None:
    """Talk until /exit or Ctrl-D; Ctrl-C stops an answer, never the session."""
    console = Console()
    opening = _Opening()
    prompt = _prompt(folder, opening)
    # Only now: what is read behind the prompt would hold up the prompt's own imports.
    _open_behind(opening, options, model, folder, session, is_resumed=is_resumed)
    mode = " [read-only]" if options.is_read_only else ""
    where = options.server or options.scenario
    console.print(f"Edgewright chat on {where}{mode}. /help lists commands, /exit ends.", highlight=False, markup=False)
    while True:
        try:
            line = prompt.prompt("you> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        if not line.strip():
            continue
        if is_exit(line):
            break
        try:
            with console.status("opening the network…") if not opening.done.is_set() else _Quiet():
                talk = opening.wait()
            _answer(talk, line, console)
        except KeyboardInterrupt as stop:
            told = "; ".join(map(str, stop.args)) or _UNSURE
            console.print(f"\n(stopped; {told}; the session is kept)", highlight=False, markup=False)
        except (AgentError, TelemetrySimError) as error:
            console.print("Error: ", style="red", end="")
            console.print(str(error), highlight=False, markup=False)
            if opening.error is not None:
                raise
    console.print("Bye.")


class _Quiet:
    """No spinner."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exc_info: object) -> None: ...


def _open_behind(
    opening: _Opening, options: RoomOptions, model: str | None, folder: Path, name: str | None, *, is_resumed: bool
) -> None:
    def work() -> None:
        try:
            opening.talk = open_talk(options, model, folder, name=name, is_resumed=is_resumed)
        except Exception as error:  # noqa: BLE001 - raised again where the session is asked for
            opening.error = error
        opening.done.set()
        if opening.talk is not None:
            # Trouble with a server is said at the first question.
            with contextlib.suppress(AgentError):
                opening.talk.warm_up()
        gc.enable()

    opening.thread = threading.Thread(target=work, name="opening", daemon=True)
    opening.thread.start()


def _prompt(folder: Path, opening: _Opening) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.history import FileHistory, History, InMemoryHistory

    from agent.output_folder import claim_folder

    class Words(Completer):
        """Commands at the start, cells and slices behind."""

        def get_completions(self, document: Any, complete_event: Any) -> Any:
            del complete_event
            word = document.get_word_before_cursor(WORD=True)
            for option in _completions(opening, document.text_before_cursor):
                if word and option.startswith(word):
                    yield Completion(option, start_position=-len(word))

    history: History
    try:
        claim_folder("sessions", folder)
        history = FileHistory(str(folder / "history"))
    except AgentInputInvalid:  # a home that can't be written to hinders no talk
        history = InMemoryHistory()
    return PromptSession(history=history, completer=Words(), complete_while_typing=False)


def _completions(opening: _Opening, before: str) -> list[str]:
    from agent.chat.slash import COMMANDS

    if before.startswith("/") and " " not in before:
        return [*COMMANDS, "/exit"]
    command = COMMANDS.get(before.partition(" ")[0])
    words = [] if command is None else list(command.words)
    return words if opening.talk is None else [*words, *opening.talk.words()]


class _Flow:
    """Words as they come, broken between them where the line ends."""

    def __init__(self, console: Console) -> None:
        self.text = ""
        self._console = console
        self._column = 0

    def write(self, piece: str) -> None:
        self.text += piece
        for part in _PIECE.findall(piece):
            if self._column and self._column + len(part.rstrip()) > self._console.width:
                self._console.print()
                self._column = 0
            self._console.print(part, end="", markup=False, highlight=False, soft_wrap=True)
            self._column = 0 if part.endswith("\n") else self._column + len(part)


def _answer(talk: Talk, line: str, console: Console) -> None:
    flow = _Flow(console)

    def on_call(name: str, given: dict[str, Any]) -> None:
        console.print(f"· {name} {_arguments(given)}", style="dim", markup=False)

    listener = Listener(decide=lambda pending: _decide(pending, console), on_text=flow.write, on_call=on_call)
    answer = talk.answer(line, listener)
    if flow.text:
        console.print()
    if flow.text.strip() != answer.text.strip():
        is_trouble = answer.text.startswith(_TROUBLE)
        if is_trouble:
            console.print(_TROUBLE, style="red", end="")
        text = answer.text.removeprefix(_TROUBLE)
        console.print(text, markup=False, highlight=False)


def _decide(pending: Pending, console: Console) -> bool:
    """Show what a change comes to and ask; only a typed yes lets it through."""
    console.print()
    console.print(Panel(_resolved(pending), title=pending.summary, title_align="left"))
    try:
        said = console.input("Do this? Type [bold]yes[/bold] to agree: ")
    except EOFError:  # Ctrl-D is no yes
        console.print()
        return False
    return said.strip().lower() in ("yes", "y")


def _resolved(pending: Pending) -> Table:
    from agent.tools.change_rows import change_rows

    table = Table(box=None, show_header=False)
    table.add_column()
    # A hash that is cut off could be anybody's.
    table.add_column(overflow="fold")
    forecast, gate = pending.resolved.get("forecast"), pending.resolved.get("gate")
    if isinstance(forecast, dict) and forecast:
        now, then = forecast["utility_now_pct"], forecast["utility_then_pct"]
        table.add_row("forecast", f"utility {now:g} % to {then:g} % in the twin")
    if isinstance(gate, dict):
        table.add_row("risk", f"{gate['risk']}: {'; '.join(map(str, gate['reasons'][:3])) or 'small moves'}")
        table.add_row("gate", str(gate["refusal"]) or "passes every check")
    changes = pending.resolved.get("changes")
    if isinstance(changes, list):
        told = change_rows(changes)
        for where, what in told[:_SHOWN_ROWS]:
            table.add_row(where, what)
        if len(told) > _SHOWN_ROWS:
            table.add_row("…", f"{len(told) - _SHOWN_ROWS} more cells and slices; /diff shows them")
    for name, rows in _words_of(pending):
        table.add_row(name, "\n".join(rows))
    return table


def _words_of(pending: Pending) -> Iterator[tuple[str, list[str]]]:
    """Goals that are set, replaced or removed; versions; the hash."""
    resolved = pending.resolved
    if "means" in resolved:
        yield "goal", str(resolved["means"]).split("; ")
    for name in ("replaces", "removes"):
        rows = resolved.get(name)
        if isinstance(rows, list) and rows:
            yield name, list(map(str, rows))
    for name in ("from_version", "to_version", "hash"):
        if name in resolved:
            yield name.replace("_", " "), [str(resolved[name])]


def _arguments(given: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in given.items() if value is not None)

"""A conversation that a running server holds: it hears the words and finds the figures, here they are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.chat.answer import Answer, Pending, clean_request
from agent.chat.server_link import UNLESS_APPROVED, ServerLink
from agent.chat.server_view import VIEWS, show_view
from agent.chat.slash import OWN_MACHINE, show_help
from agent.chat.talk import Listener
from agent.errors import AgentError, AgentInputInvalid
from agent.tools.finding import Finding

_CHAT = "/v1/chat"


class ServerTalk:
    """Sentences and commands go to the server; files and what they hold stay on this machine."""

    def __init__(
        self, link: ServerLink, *, is_read_only: bool, name: str | None = None, log: Path | None = None
    ) -> None:
        self._link = link
        self._is_read_only = is_read_only
        self._name = name
        self._log = log
        """Where a named session's words are kept."""
        self._said: list[dict[str, str]] = _read_log(log)
        self._num_tokens = [0, 0]
        self._agreed: list[str] = []
        """Changes of the latest request that the server was told to make."""
        self._words: list[str] = []

    def answer(self, line: str, listener: Listener) -> Answer:
        self._agreed.clear()
        try:
            request = clean_request(line)
            found = self._own_command(request) if request.startswith("/") else None
            if found is not None:
                return Answer(text=found.text, exit_status=found.exit_status)
            answer = self._ask(request, listener)
        except KeyboardInterrupt as stop:
            unchanged = "nothing was changed" if self._is_read_only else UNLESS_APPROVED
            raise KeyboardInterrupt(*([f"{what} may have been done" for what in self._agreed] or [unchanged])) from stop
        except AgentError as error:
            return Answer(text=f"Error: {error}", exit_status=error.exit_status)
        self._keep({"role": "human", "text": request}, {"role": "ai", "text": answer.text})
        return answer

    def words(self) -> list[str]:
        return self._words

    def warm_up(self) -> None:
        """Raises ServerUnreachable or ServerRefused; the server reads its model from here on."""
        about = self._link.get(_CHAT)
        self._words = [*map(str, about["slices"]), *map(str, about["cells"])]

    def _ask(self, request: str, listener: Listener) -> Answer:
        body = {"request": request, "session": self._name, "read_only": self._is_read_only}
        waiting: list[dict[str, Any]] = []
        document: dict[str, Any] = {}
        for event, data in self._link.stream(_CHAT, body):
            if event == "call":
                listener.on_call(data["tool"], data["arguments"])
            elif event == "pending":
                waiting.append(data)
            elif event == "text" and (not waiting or listener.decide is None):
                # What follows a question to a person depends on the answer.
                listener.on_text(data["piece"])
            elif event == "answer":
                document = data
        self._name = document["session"]
        answer = _as_answer(document)
        self._num_tokens[0] += answer.num_input_tokens
        self._num_tokens[1] += answer.num_output_tokens
        if listener.decide is not None:
            self._decide_each(document["pending"], answer, listener)
        return answer

    def _decide_each(self, rows: list[dict[str, Any]], answer: Answer, listener: Listener) -> None:
        """Trouble with one change leaves what came of the others in the answer."""
        troubles: list[tuple[str, int]] = []
        for row in rows:
            try:
                self._decide(row, answer, listener)
            except AgentError as error:
                troubles.append((f"Error: {row['summary']}: {error}", error.exit_status))
        answer.text = "\n".join([answer.text, *(text for text, _ in troubles)])
        answer.exit_status = max([answer.exit_status, *(status for _, status in troubles)])

    def _decide(self, row: dict[str, Any], answer: Answer, listener: Listener) -> None:
        """Ask the person about a change that waits, tell the server, and take what came of it into the answer."""
        pending = _as_pending(row)
        is_agreed = listener.decide is not None and listener.decide(pending)
        if is_agreed:
            self._agreed.append(pending.summary)
        told = self._link.post(
            f"{_CHAT}/confirmations",
            {"pending_id": row["id"], "binding": row["binding"], "is_agreed": is_agreed},
        )
        became = _as_answer(told)
        # A command names no call where nothing was called.
        place = next((i for i, call in enumerate(answer.calls) if _is_open(call, pending)), None)
        before = answer.text if place is None else answer.calls[place]["result"]["text"]
        if became.calls:
            end = len(answer.calls) if place is None else place + 1
            answer.calls[end if place is None else place : end] = became.calls
        elif place is not None:
            answer.calls[place]["result"] = {"text": became.text, "data": pending.resolved, "status": 5}
        answer.text = answer.text.replace(before, became.text) if before in answer.text else became.text
        if is_agreed:
            answer.pending = [left for left in answer.pending if left.binding() != row["binding"]]
        answer.exit_status = max([became.exit_status, *(int(call["result"]["status"]) for call in answer.calls)])

    def _own_command(self, request: str) -> Finding | None:
        """What needs no chat on the server; None for the rest."""
        word, *given = request.split()
        word = word.lower()
        if word in VIEWS:
            return show_view(self._link, word)
        if word not in OWN_MACHINE:
            return None
        if word == "/export":
            return self._export(given)
        said = {
            "/run": "The server's network runs on by itself.",
            "/model": "Chat model: the server's embedded one; start the chat with --model for another.",
            "/tokens": f"{self._num_tokens[0]} tokens read, {self._num_tokens[1]} written.",
            "/save": "This session has no name and is not kept here; begin one that is with --session NAME."
            if self._log is None
            else f"Session {self._name} is kept after every answer, here and on the server.",
        }
        return show_help() if word == "/help" else Finding(text=said[word])

    def _export(self, given: list[str]) -> Finding:
        if len(given) != 1:
            raise AgentInputInvalid(f"'/export {' '.join(given)[:80]}': expected /export FILE")
        rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._said)
        try:
            Path(given[0]).write_text(rows, encoding="utf-8")
        except OSError as error:
            raise AgentError(f"export to {given[0]}: {error.strerror}") from error
        return Finding(text=f"{len(self._said)} messages written to {given[0]}.")

    def _keep(self, *rows: dict[str, str]) -> None:
        self._said.extend(rows)
        if self._log is None:
            return
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        except OSError as error:
            raise AgentError(f"session file {self._log}: {error.strerror}") from error


def latest_log(folder: Path) -> str:
    """The session that was used last with a server; raises AgentInputInvalid where there is none."""
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise AgentInputInvalid(f"nothing to resume: no server's session in {folder}; start one with --session NAME")
    return files[-1].stem


def _read_log(log: Path | None) -> list[dict[str, str]]:
    """What was said before; a torn last line is left out."""
    if log is None or not log.is_file():
        return []
    rows = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def _as_pending(row: dict[str, Any]) -> Pending:
    return Pending(tool=row["tool"], arguments=row["arguments"], summary=row["summary"], resolved=row["resolved"])


def _as_answer(document: dict[str, Any]) -> Answer:
    return Answer(
        text=document["answer"],
        calls=[
            {**call, "result": result}
            for call, result in zip(document["tool_calls"], document["evidence"], strict=True)
        ],
        pending=[_as_pending(row) for row in document["pending"]],
        exit_status=document["exit_status"],
        num_input_tokens=document["tokens"]["input"],
        num_output_tokens=document["tokens"]["output"],
        first_token_s=document["timings"]["first_token_s"],
        elapsed_s=document["timings"]["elapsed_s"],
    )


def _is_open(call: dict[str, Any], pending: Pending) -> bool:
    """Whether it is the call that waits, and nobody has been asked about it yet."""
    is_same = (call["tool"], call["arguments"]) == (pending.tool, pending.arguments)
    return is_same and int(call["result"]["status"]) == 5 and str(call["result"]["text"]).startswith("Nothing changed")

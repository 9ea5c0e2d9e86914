"""The chat in a real terminal: what is typed, what a person answers, and what the screen shows."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pexpect

_COMMAND = [sys.executable, "-c", "from agent.command_line import main; main()", "chat"]
_PROMPT = "you> "
_QUESTION = "to agree: "
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r|\x07")
_TIMEOUT_S = 300
_LOST_AFTER_S = 10
END_OF_INPUT = "\x04"
"""Ctrl-D."""

README = (
    "which cell is worst right now and why?",
    "/goal delay_ms vehicles 20",
    "propose a plan",
    "what if cell 1 goes down?",
    "apply it",
    "/run 3",
    "/slices vehicles",
    "show the history",
    "roll back",
    "/run 3",
)
"""A goal, a plan, a what-if, a yes, KPIs that change, and the way back."""


class Terminal:
    """`edgewright chat` on a pseudo-terminal."""

    def __init__(self, home: Path, *arguments: str, columns: int = 110) -> None:
        environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "TERM": "dumb"}
        self.child = pexpect.spawn(
            _COMMAND[0],
            [*_COMMAND[1:], *arguments],
            env=environment,
            encoding="utf-8",
            timeout=_TIMEOUT_S,
            dimensions=(50, columns),
        )
        self.child.expect_exact(_PROMPT)
        self.greeting = plain(self.child.before)

    def say(self, line: str, *, answers: Sequence[str] = ("yes",)) -> str:
        """What the screen shows until the next prompt; approval prompts are answered in order."""
        self.child.sendline(line)
        shown, left = "", list(answers)
        while self.child.expect_exact([_PROMPT, _QUESTION]) == 1:
            said = left.pop(0)
            shown += str(self.child.before) + _QUESTION + said + "\n"
            if said == END_OF_INPUT:
                self.child.send(said)
            else:
                self.child.sendline(said)
            self.child.readline()
        return plain(shown + str(self.child.before))

    def interrupt(self) -> None:
        """Ctrl-C at the prompt, until the prompt is back: one that comes before the prompt reads keys is lost."""
        while True:
            self.child.send("\x03")
            if self.child.expect_exact([_PROMPT, pexpect.TIMEOUT], timeout=_LOST_AFTER_S) == 0:
                return

    def end(self) -> int:
        """Leave by /exit; the process's exit status."""
        self.child.sendline("/exit")
        self.child.expect_exact("Bye.")
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus)


def transcript(home: Path, *arguments: str, lines: Sequence[str] = README) -> str:
    """A conversation as typed and printed."""
    terminal = Terminal(home, *arguments)
    parts = [terminal.greeting.strip()]
    for line in lines:
        shown = terminal.say(line)
        # The terminal echoes what is typed, once or twice.
        rows = [row for row in shown.split("\n") if row.removeprefix(_PROMPT).strip() != line]
        parts.append(f"{_PROMPT}{line}\n" + "\n".join(rows).strip())
    terminal.end()
    return "\n\n".join(parts) + "\n"


def plain(shown: str | None) -> str:
    """The text without what moves the cursor; no blanks at the ends of lines."""
    text = _CONTROL.sub("", shown or "")
    return "\n".join(line.rstrip() for line in text.split("\n"))

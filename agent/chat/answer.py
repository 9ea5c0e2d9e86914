"""What a request may be, what comes of it, and what waits for a person; read without anything heavy."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from agent.errors import AgentInputInvalid

MAX_REQUEST = 4000
"""Characters of one request; the rest of a paste is refused."""
_SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
_UNDECODED = re.compile(r"[\ud800-\udfff]")
"""Bytes that are no UTF-8, as a terminal hands them on."""
_BINDING = ("hash", "goal", "replaces", "removes", "from_version", "to_version", "changes")
"""What of a resolved change a yes is bound to: what it does, not how it is expected to turn out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that waits for a person, with what it comes to."""

    tool: str
    arguments: dict[str, Any]
    summary: str
    resolved: dict[str, object]
    """The policy's diff, forecast and risk, or the goal object."""

    def binding(self) -> str:
        """SHA-256 of what would be done."""
        bound = {name: self.resolved[name] for name in _BINDING if name in self.resolved}
        text = json.dumps([self.tool, self.arguments, bound], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came of one request."""

    text: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    """Changes that nobody has said yes to."""
    exit_status: int = 0
    num_input_tokens: int = 0
    num_output_tokens: int = 0
    first_token_s: float = 0.0
    elapsed_s: float = 0.0


def clean_request(text: str) -> str:
    """The request without control sequences; raises AgentInputInvalid for empty, binary or huge ones."""
    if len(text) > MAX_REQUEST:
        raise AgentInputInvalid(f"request of {len(text)} characters: at most {MAX_REQUEST} are read")
    plain = _UNDECODED.sub("\ufffd", _CONTROL.sub("", text)).strip()
    if not plain:
        raise AgentInputInvalid("request: nothing to read in it; type a question, or /help")
    if plain.count("\ufffd") > len(plain) // 10:
        raise AgentInputInvalid(f"request of {len(text)} characters: looks like binary data, not text")
    return plain


def clean_session_name(name: str) -> str:
    """A name that may be a file's; raises AgentInputInvalid for another."""
    if not _SESSION_NAME.fullmatch(name):
        raise AgentInputInvalid(f"session {name[:70]!r}: letters, digits, '.', '_' and '-' are allowed, at most 64")
    return name


def answer_document(request: str, answer: Answer) -> dict[str, Any]:
    """An answer as plain JSON values, its evidence apart from its calls."""
    return {
        "request": request[:MAX_REQUEST],
        "answer": answer.text,
        "tool_calls": [{"tool": c["tool"], "arguments": c["arguments"]} for c in answer.calls],
        "evidence": [c["result"] for c in answer.calls],
        "pending": [
            {"tool": p.tool, "arguments": p.arguments, "summary": p.summary, "resolved": p.resolved}
            for p in answer.pending
        ],
        "exit_status": answer.exit_status,
        "tokens": {"input": answer.num_input_tokens, "output": answer.num_output_tokens},
        "timings": {"first_token_s": round(answer.first_token_s, 4), "elapsed_s": round(answer.elapsed_s, 4)},
    }

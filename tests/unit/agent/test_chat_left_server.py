"""Ctrl-C while a server answers: what is told is what may have become of the request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from agent.chat.answer import Pending
from agent.chat.server_link import UNLESS_APPROVED, ServerLink
from agent.chat.server_talk import ServerTalk
from agent.chat.talk import Listener

_GOAL = {"tool": "set_goal", "arguments": {"metric": "energy"}, "summary": "set goal: energy", "resolved": {}}
_ANSWER = {
    "session": "night",
    "answer": "Nothing changed (needs your approval): set goal: energy.",
    "tool_calls": [],
    "evidence": [],
    "pending": [_GOAL | {"id": "1", "binding": "b"}],
    "exit_status": 5,
    "tokens": {"input": 0, "output": 0},
    "timings": {"first_token_s": 0.0, "elapsed_s": 0.0},
}


class _Link:
    """A server whose caller presses Ctrl-C while it streams, or while it carries out what was agreed to."""

    def __init__(self, *, is_left_at_once: bool) -> None:
        self._is_left_at_once = is_left_at_once

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        if self._is_left_at_once:
            raise KeyboardInterrupt
        yield "answer", _ANSWER

    def post(self, path: str, body: dict[str, Any]) -> Any:
        raise KeyboardInterrupt


def _told(*, is_read_only: bool = False, is_left_at_once: bool = False, says: bool = True) -> tuple[object, ...]:
    talk = ServerTalk(cast("ServerLink", _Link(is_left_at_once=is_left_at_once)), is_read_only=is_read_only)

    def decide(pending: Pending) -> bool:
        del pending
        return says

    with pytest.raises(KeyboardInterrupt) as stop:
        talk.answer("save energy", Listener(decide=decide))
    return stop.value.args


def test_what_was_agreed_to_may_have_been_done() -> None:
    assert _told() == ("set goal: energy may have been done",)


def test_without_a_yes_nothing_was_changed_but_by_an_approved_plan() -> None:
    assert _told(says=False) == _told(is_left_at_once=True) == (UNLESS_APPROVED,)


def test_a_read_only_request_changed_nothing() -> None:
    assert _told(is_left_at_once=True, is_read_only=True) == ("nothing was changed",)

"""Ctrl-C in a chat: a slow model is left at once, a change is made to its end, and what became of it is told."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from agent.chat.session import ChatSession
from agent.chat.slash import answer_line
from agent.control_room import ControlRoom
from agent.dispatch.port import Dispatcher, DispatchOutcome
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.policy import SchedulingPolicy
from tests.chat_stage import calling, saying


def session_of(room: ControlRoom, *script: AIMessage, **given: Any) -> ChatSession:
    return ChatSession(room, ScriptedChatModel(script=list(script)), **given)


class _Slow(ScriptedChatModel):
    """Says a word, and nothing more until it is let go; then it calls a tool."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="Well ", id="slow"))
        LET_GO.wait(30)
        yield ChatGenerationChunk(message=AIMessageChunk(content="now", id="slow"))
        ENDED.set()


LET_GO, ENDED = threading.Event(), threading.Event()


def test_an_interrupt_does_not_wait_for_a_slow_model(room: ControlRoom) -> None:
    session = session_of(room, saying("fine"))
    session.change_model(_Slow(script=[]))

    def interrupt(piece: str) -> None:
        raise KeyboardInterrupt

    session.on_text = interrupt
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as stop:
        session.ask("status")
    assert time.monotonic() - began < 10
    assert stop.value.args == ("nothing was changed",)
    assert session.messages == []
    LET_GO.set()
    session.on_text = lambda _: None
    session.change_model(ScriptedChatModel(script=[calling("network_status"), saying("fine")]))
    assert [made["tool"] for made in session.ask("status").calls] == ["network_status"]
    assert not ENDED.is_set(), "the run that was left went on after its next token"


class _CtrlC:
    """Presses Ctrl-C from another thread and returns once the main thread has felt it, so that none is late or lost."""

    def __init__(self) -> None:
        self._felt = threading.Semaphore(0)

    def feel(self, *_: object) -> None:
        self._felt.release()
        raise KeyboardInterrupt

    def press(self) -> None:
        main = threading.main_thread().ident or 0
        signal.pthread_kill(main, signal.SIGINT)
        # A signal that comes just before a wait begins does not end it; another one does.
        while not self._felt.acquire(timeout=0.1):
            signal.pthread_kill(main, signal.SIGUSR1)


@pytest.fixture
def ctrl_c() -> Iterator[_CtrlC]:
    """Ctrl-C as in a terminal, also in a test runner's worker, which may ignore it."""
    pressing = _CtrlC()
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, pressing.feel),
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, lambda *_: None),
    }
    yield pressing
    for number, handler in before.items():
        signal.signal(number, handler)


class _InterruptedDispatcher:
    """Somebody presses Ctrl-C while it sends; the network gets the policy all the same."""

    def __init__(self, inner: Dispatcher, ctrl_c: _CtrlC, num_presses: int) -> None:
        self._inner = inner
        self._ctrl_c = ctrl_c
        self._num_presses = num_presses
        self.has_sent = threading.Event()

    def dispatch(self, policy: SchedulingPolicy) -> DispatchOutcome:
        for _ in range(self._num_presses):
            self._ctrl_c.press()
        try:
            return self._inner.dispatch(policy)
        finally:
            self.has_sent.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("line", ["/apply", "apply it"])
def test_an_interrupt_while_a_plan_is_sent_tells_what_became_of_it(
    room: ControlRoom, ctrl_c: _CtrlC, line: str
) -> None:
    session = session_of(room, calling("apply_plan"), saying("done"), decide=lambda _: True)
    session.run_tool("propose_plan", {})
    room.gate._dispatcher = _InterruptedDispatcher(room.gate._dispatcher, ctrl_c, 1)
    with pytest.raises(KeyboardInterrupt) as stop:
        answer_line(session, line)
    assert stop.value.args == ("version 1 is approved", "Version 1 is in force: 4 of 4 cells applied it")
    assert room.gate.desired.version == 1
    assert answer_line(session, "/history").exit_status == 0


@pytest.mark.parametrize("line", ["/apply", "apply it"])
def test_who_presses_it_twice_is_told_that_the_plan_may_be_in_force(
    room: ControlRoom, ctrl_c: _CtrlC, line: str
) -> None:
    session = session_of(room, calling("apply_plan"), saying("done"), decide=lambda _: True)
    session.run_tool("propose_plan", {})
    dispatcher = _InterruptedDispatcher(room.gate._dispatcher, ctrl_c, 2)
    room.gate._dispatcher = dispatcher
    with pytest.raises(KeyboardInterrupt) as stop:
        answer_line(session, line)
    assert stop.value.args == ("version 1 is approved", "apply plan may have been done")
    assert dispatcher.has_sent.wait(30)


def test_an_interrupt_at_the_question_changes_nothing(room: ControlRoom) -> None:
    def leave(pending: Pending) -> bool:
        raise KeyboardInterrupt

    session = session_of(room, calling("apply_plan"), saying("done"), decide=leave)
    session.run_tool("propose_plan", {})
    for line in ("/apply", "apply it"):
        with pytest.raises(KeyboardInterrupt) as stop:
            answer_line(session, line)
        assert stop.value.args == ("nothing was changed",)
    assert room.gate.desired.version == 0

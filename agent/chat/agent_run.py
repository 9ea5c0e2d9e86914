"""One run of the agent on a thread of its own: who waits for it may leave, however slow the model is."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler


class _RunLeft(Exception):
    """Nobody waits for this run any more."""


class AgentRun(BaseCallbackHandler):
    """Give it to the run as a callback: once left, the run ends at the model's next token."""

    raise_error = True

    def __init__(self) -> None:
        self._is_left = threading.Event()

    def events(self, stream: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """What the run tells, as it comes; its errors are raised here."""
        told: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        end = object()

        def work() -> None:
            try:
                for event in stream():
                    self._go_on()
                    told.put((event, None))
                told.put((end, None))
            except BaseException as error:  # noqa: BLE001 - raised again where the run is waited for
                told.put((end, error))

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name="agent-run", daemon=True).start()
        while True:
            event, error = told.get()
            if error is not None:
                raise error
            if event is end:
                return
            yield event

    def leave(self) -> None:
        """Wait no longer; nothing that the run still does counts."""
        self._is_left.set()

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self._go_on()

    def on_llm_new_token(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self._go_on()

    def _go_on(self) -> None:
        if self._is_left.is_set():
            raise _RunLeft

"""What happens, told to whoever listens, from any thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

_MAX_PENDING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEvent:
    """One thing for listeners: a fixed word and a JSON document."""

    kind: str
    document: dict[str, object]


class LiveEvents:
    """Each listener has a queue of its own; its length is the number of listeners."""

    def __init__(self) -> None:
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[LiveEvent]]] = set()

    def __len__(self) -> int:
        return len(self._listeners)

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Queue[LiveEvent]]:
        """A queue of events from now on; a listener that falls behind loses the oldest."""
        queue: asyncio.Queue[LiveEvent] = asyncio.Queue(_MAX_PENDING)
        entry = (asyncio.get_running_loop(), queue)
        self._listeners.add(entry)
        try:
            yield queue
        finally:
            self._listeners.discard(entry)

    def publish(self, event: LiveEvent) -> None:
        for loop, queue in list(self._listeners):
            with contextlib.suppress(RuntimeError):  # the listener's event loop has closed
                loop.call_soon_threadsafe(_offer, queue, event)


def _offer(queue: asyncio.Queue[LiveEvent], event: LiveEvent) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)

"""How a long command is asked to stop, in a module light enough to be there before anything heavy is imported."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERRUPTED = 130
"""Exit status after SIGINT, by the shells' convention."""


@contextmanager
def stop_on_sigint() -> Iterator[Callable[[], bool]]:
    """A question that becomes true at the first SIGINT; the second one raises KeyboardInterrupt."""
    asked: list[int] = []

    def remember(number: int, _: object) -> None:
        asked.append(number)
        # Not the handler before: a shell that put the process in the background may have had it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        click.echo("Stopping after this round; press again to stop at once", err=True)

    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, previous)

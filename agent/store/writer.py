"""One writing thread for a store: concurrent writers share a commit, so they share its fsync."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from agent.errors import StoreFull, StoreUnusable
from agent.store.audit_trail import AuditTail

Result = TypeVar("Result")
Clock = Callable[[], float]
"""Seconds since the Unix epoch."""


class Transaction:
    """What a piece of work may do: run statements and append to the audit trail, all or nothing."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self._tail: AuditTail | None = None

    def now_us(self) -> int:
        return int(self._clock() * 1e6)

    def audit(self, kind: str, *, actor: str, body: Mapping[str, object]) -> None:
        if self._tail is None:
            self._tail = AuditTail(self.connection)
        self._tail.append(kind, actor=actor, body=body, time_us=self.now_us())

    def flush(self) -> None:
        if self._tail is not None:
            self._tail.flush()


Work = Callable[[Transaction], Result]
"""Must be safe to run again from the start: a batch that fails is run again one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    work: Work[Any]
    future: Future[Any] | asyncio.Future[Any]


class GroupWriter:
    """Runs work in order, several pieces to a commit while there are several waiting."""

    def __init__(self, engine: Engine, clock: Clock, *, max_batch: int = 256) -> None:
        self._engine = engine.execution_options(writes=True)
        self._clock = clock
        self._max_batch = max_batch
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """The result once it is durable; StoreUnusable where it could not be written."""
        future: Future[Result] = Future()
        with self._lock:
            if self._is_closed:
                raise StoreUnusable("store: it is closed")
            self._jobs.put(_Job(work=work, future=future))
        return future

    def submit_from_loop(self, work: Work[Result]) -> asyncio.Future[Result]:
        """As `submit`, for the running event loop, which is woken once for all that a commit made durable."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._is_closed:
                raise StoreUnusable("store: it is closed")
            self._jobs.put(_Job(work=work, future=future))
        return future

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._jobs.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < self._max_batch:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    is_open = False
                    break
                batch.append(job)
            self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        try:
            results = self._execute(batch)
        except Exception as error:  # noqa: BLE001 (whatever a piece of work raises belongs to its caller)
            if len(batch) == 1:
                _finish([(batch[0].future, None, _translated(error))])
                return
            # One bad piece must not sink its neighbours.
            for job in batch:
                self._commit([job])
            return
        _finish([(job.future, result, None) for job, result in zip(batch, results, strict=True)])

    def _execute(self, batch: list[_Job]) -> list[Any]:
        with self._engine.begin() as connection:
            transaction = Transaction(connection, self._clock)
            results = [job.work(transaction) for job in batch]
            transaction.flush()
        return results


_Outcome = tuple[Future[Any] | asyncio.Future[Any], Any, Exception | None]


def _finish(outcomes: list[_Outcome]) -> None:
    """Tell everyone who waits; each event loop is woken once, for every call out of the interpreter is a wait."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        future = outcome[0]
        if isinstance(future, asyncio.Future):
            by_loop.setdefault(future.get_loop(), []).append(outcome)
        else:
            _settle([outcome])
    for loop, part in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, part)


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _translated(error: Exception) -> Exception:
    if not isinstance(error, SQLAlchemyError):
        return error
    first_line = str(error).splitlines()[0]
    is_full = "disk is full" in first_line or "No space left" in first_line
    translated = StoreFull(f"store: {first_line}") if is_full else StoreUnusable(f"store: {first_line}")
    translated.__cause__ = error
    return translated

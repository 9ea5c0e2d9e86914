"""The store: opened by URL, read from any thread, written by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from agent.errors import StoreUnusable
from agent.store.audit_trail import require_intact
from agent.store.engine import open_engine
from agent.store.writer import Clock, GroupWriter, Work

Result = TypeVar("Result")


class Store:
    """Reads see what is committed; writes are durable when they return."""

    def __init__(self, engine: Engine, clock: Clock = time.time) -> None:
        self.clock = clock
        self._engine = engine
        self._is_closed = False
        self._lock = threading.Lock()
        try:
            with engine.connect() as connection:
                require_intact(connection)
        except StoreUnusable:
            engine.dispose()
            raise
        self._writer = GroupWriter(engine, clock)

    @classmethod
    def open(cls, url: str, clock: Clock = time.time) -> Self:
        """Open and migrate; raises StoreUnusable."""
        return cls(open_engine(url), clock)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Run the work, which must not ask the store again: in memory there is one connection for all."""
        try:
            with self._connect() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise StoreUnusable(f"store: {str(error).splitlines()[0]}") from error

    def write(self, work: Work[Result]) -> Result:
        """Run the work in a transaction and wait until it is durable."""
        return self._writer.submit(work).result()

    def submit(self, work: Work[Result]) -> Future[Result]:
        """As `write`, without waiting."""
        return self._writer.submit(work)

    async def write_async(self, work: Work[Result]) -> Result:
        """As `write`, without holding up the event loop."""
        return await self._writer.submit_from_loop(work)

    def close(self) -> None:
        """Finish what was submitted; reads under way on other threads go on."""
        self._writer.close()
        with self._lock:
            self._is_closed = True
            self._engine.dispose()

    def _connect(self) -> Connection:
        # A closed engine would connect anew, and in memory to an empty database.
        with self._lock:
            if self._is_closed:
                raise StoreUnusable("store: it is closed")
            return self._engine.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

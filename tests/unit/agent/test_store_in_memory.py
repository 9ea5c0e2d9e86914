"""A store in memory: one connection for all threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection

from agent.store.sessions import load_switches, set_switch
from agent.store.store import Store


def test_who_reads_from_a_store_in_memory_while_it_is_closed_reads_to_the_end() -> None:
    store = Store.open("sqlite://")
    store.write(lambda t: set_switch(t, "freeze", {}, actor="ann"))
    is_reading, is_closed = threading.Event(), threading.Event()

    def read(connection: Connection) -> dict[str, dict[str, object]]:
        is_reading.set()
        assert is_closed.wait(10)
        return load_switches(connection)

    with ThreadPoolExecutor(max_workers=1) as reader:
        under_way = reader.submit(store.read, read)
        assert is_reading.wait(10)
        store.close()
        is_closed.set()
        assert under_way.result() == {"freeze": {}}

"""Memory of the whole application over a million requests, called in process: guard, routes and a store on disk.

.venv/bin/python benchmarks/control_plane_memory.py --json

Sockets and the HTTP parser are left out, which is what lets a million of them pass in three minutes; a fifth are PUTs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from api.app import create_app
from api.serving import ServeOptions, build_operations
from api.settings import ApiSettings
from benchmarks.control_plane import POLICIES, body, rss_mib
from benchmarks.control_plane_figures import figure

NUM_CALLERS, PER_PART = 64, 20_000


async def call(app: Callable[..., Any], method: str, path: str, content: bytes = b"") -> None:
    """One request; raises AssertionError where it is not answered with success."""
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    length = (b"content-length", str(len(content)).encode())
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"), length],
        "client": ("127.0.0.1", 1234),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await app(scope, receive, send)
    assert statuses[0] < 300, (method, path, statuses)


async def sizes_mib(folder: Path, num_requests: int) -> list[tuple[int, float]]:
    """Requests so far and resident memory after each part."""
    operations = build_operations(ServeOptions(store_url=f"sqlite:///{folder}/memory.db", num_devices=60))
    operations.turn()
    app = create_app(operations, ApiSettings(requests_per_s=1e12, burst=10**12))
    found: list[tuple[int, float]] = []

    async def caller(which: int, count: int) -> None:
        for number in range(which, which + NUM_CALLERS * count, NUM_CALLERS):
            if number % 5 == 0:
                await call(app, "PUT", f"{POLICIES}/p{number % 64}", body(number % 7))
            else:
                await call(app, "GET", f"{POLICIES}/p0")

    await call(app, "PUT", f"{POLICIES}/p0", body())
    num_done = 0
    while num_done < num_requests:
        await asyncio.gather(*(caller(which, PER_PART // NUM_CALLERS) for which in range(NUM_CALLERS)))
        num_done += PER_PART // NUM_CALLERS * NUM_CALLERS
        found.append((num_done, rss_mib("self")))
        print(f"{num_done} requests, {found[-1][1]:.2f} MiB", file=sys.stderr)
    operations.store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--requests", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(sizes_mib(Path(folder), arguments.requests))
    growth_mib = found[-1][1] - found[0][1]
    name = f"memory growth from {found[0][0]} to {found[-1][0]} requests, in process [MiB]"
    rows = [figure(name, growth_mib, "<= 5", growth_mib <= 5)]
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()

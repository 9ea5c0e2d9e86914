"""Callers who begin a request and leave it at that, or listen for ever, shut nobody out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.settings import ApiSettings
from tests.chat_stage import tokens_for
from tests.unit.api.test_a1 import assert_is_problem

MANY = 300
SETTINGS = ApiSettings(max_streams=2, max_concurrent=2)


def app_for(operations, settings: ApiSettings = SETTINGS) -> FastAPI:
    return create_app(operations, settings)


def client_of(app: FastAPI, token: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


class IdleCall:
    """A request whose body never comes; what it was answered."""

    def __init__(self, method: str, path: str, token: str = "") -> None:
        self.started = asyncio.Event()
        self.answer: dict[str, Any] = {}
        headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"10")]
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        self._has_asked = False
        self._scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "server": ("localhost", 80),
        }

    async def run(self, app: FastAPI) -> None:
        await app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if self._scope["method"] == "GET" and not self._has_asked:
            self._has_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer = message
            self.started.set()


@asynccontextmanager
async def idling(app: FastAPI, *calls: IdleCall) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(call.run(app)) for call in calls]
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def kill(app: FastAPI, token: str = "") -> int:
    async with client_of(app, token) as client:
        return (await client.put("/v1/stops", json={"is_killed": True})).status_code


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/plans", "/v1/stops"])
async def test_strangers_who_send_no_body_hold_no_place(stage, path):
    token = tokens_for(stage.operations, "operator")["operator"]
    app = app_for(stage.operations)
    async with idling(app, *(IdleCall("POST", path) for _ in range(MANY))):
        assert await kill(app, token) == 200


async def test_an_open_path_answers_without_the_body(operations):
    app, call = app_for(operations), IdleCall("POST", "/healthz")
    async with idling(app, call), asyncio.timeout(5):
        await call.started.wait()
    assert call.answer["status"] == 405


async def test_callers_who_were_let_in_and_send_no_body_hold_no_place_either(operations):
    app = app_for(operations)
    async with idling(app, *(IdleCall("PUT", "/v1/stops") for _ in range(MANY))):
        assert await kill(app) == 200


async def test_a_body_that_does_not_come_is_a_408_and_ends_the_connection(operations):
    app, call = app_for(operations, ApiSettings(body_timeout_s=0.01)), IdleCall("PUT", "/v1/stops")
    async with idling(app, call), asyncio.timeout(5):
        await call.started.wait()
    assert call.answer["status"] == 408
    assert (b"connection", b"close") in call.answer["headers"]


async def test_listeners_hold_no_place_and_each_caller_has_so_many(stage):
    tokens = tokens_for(stage.operations, "viewer", "operator")
    app = app_for(stage.operations)
    streams = [IdleCall("GET", "/v1/events", tokens["viewer"]) for _ in range(2)]
    async with idling(app, *streams):
        async with asyncio.timeout(5):
            for stream in streams:
                await stream.started.wait()
        async with client_of(app, tokens["viewer"]) as client:
            told = assert_is_problem(await client.get("/v1/events?max_events=1"), 429)
            assert told["detail"] == "2 event streams are open for 'viewer' already; close one first"
            assert (await client.get("/v1/topology")).status_code == 200
        async with client_of(app, tokens["operator"]) as client:
            assert (await client.get("/v1/events?max_events=1")).status_code == 200
        assert await kill(app, tokens["operator"]) == 200
    async with client_of(app, tokens["viewer"]) as client:
        assert (await client.get("/v1/events?max_events=1")).status_code == 200


async def test_more_than_so_many_at_once_are_a_503(stage):
    app, may_answer, num_begun = app_for(stage.operations), asyncio.Event(), 0

    @app.get("/v1/slow")
    async def slow() -> str:
        nonlocal num_begun
        num_begun += 1
        await may_answer.wait()
        return "done"

    async with client_of(app) as client:
        running = [asyncio.create_task(client.get("/v1/slow")) for _ in range(2)]
        async with asyncio.timeout(5):
            while num_begun < 2:  # noqa: ASYNC110 (the route tells nobody else)
                await asyncio.sleep(0)
        assert_is_problem(await client.get("/v1/topology"), 503)
        assert (await client.get("/healthz")).status_code == 200
        may_answer.set()
        assert [(await answer).status_code for answer in running] == [200, 200]
        assert (await client.get("/v1/topology")).status_code == 200

"""The outermost layer: every request is checked, counted and logged before any route sees it."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from agent.errors import AgentError
from agent.store.tokens import TokenOwner
from api.errors import as_problem
from api.metrics import Metrics
from api.problems import MEDIA_TYPE, Problem
from api.security import LOCAL, Doorkeeper, RateLimiter, host_in, is_loopback
from api.settings import ApiSettings

LOG = logging.getLogger("edgewright.requests")

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BAD_PATH = re.compile(rb"%(2f|5c|0[0-9a-f]|1[0-9a-f]|7f)|[\x00-\x20\x7f-\xff\\]|%(?![0-9a-f]{2})", re.IGNORECASE)
_DOTS = re.compile(rb"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_CORRELATION_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_STREAM = ("GET", "/v1/events")
"""Answered for as long as the caller listens."""


class Guard:
    """Refuses malformed paths, unknown callers, web pages, floods and bodies that are too large, late or not JSON.

    Every refusal is a problem document. Only requests that were let in and have arrived whole count among those that
    run; event streams are counted apart, for each caller.

    A policy management service drops all of a node's policies when a policy that it knows is answered with 401,
    409 or 429, so for such a PUT these become 503.
    """

    def __init__(
        self,
        app: App,
        *,
        settings: ApiSettings,
        doorkeeper: Doorkeeper,
        metrics: Metrics,
        is_known_policy: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._settings = settings
        self._doorkeeper = doorkeeper
        self._limiter = RateLimiter(per_s=settings.requests_per_s, burst=settings.burst)
        self._metrics = metrics
        self._is_known_policy = is_known_policy
        self._num_running = 0
        self._num_streams: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        correlation_id = _correlation_id(scope)
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"x-correlation-id", correlation_id.encode()))
            await send(message)

        try:
            await self._serve(scope, receive, note_status)
        finally:
            elapsed_s = time.perf_counter() - began_s
            route = getattr(scope.get("route"), "path", "unmatched")
            self._metrics.request_s(scope["method"], route, status).observe(elapsed_s)
            if LOG.isEnabledFor(logging.INFO):
                _log_request(correlation_id, scope["method"], route, status, elapsed_s)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            problem, owner = self._admit(scope)
        except AgentError as error:
            problem, owner = as_problem(error), None
        if problem is not None:
            await answer_problem(problem, send)
            return
        scope.setdefault("state", {})["owner"] = owner
        if owner is None:
            # An open path: nobody's body is waited for.
            await self._app(scope, receive, send)
        elif (scope["method"], scope["path"]) == _STREAM:
            await self._stream(scope, receive, send, owner.name)
        else:
            await self._run(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send, caller: str) -> None:
        most = self._settings.max_streams
        if self._num_streams[caller] >= most:
            detail = f"{most} event streams are open for {caller!r} already; close one first"
            await answer_problem(Problem(status=429, detail=detail), send)
            return
        self._num_streams[caller] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_streams[caller] -= 1
            if not self._num_streams[caller]:
                del self._num_streams[caller]

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._arrived(scope, receive)
        if isinstance(body, Problem):
            await answer_problem(body, send)
            return
        if self._num_running >= self._settings.max_concurrent:
            problem = Problem(status=503, detail="too many requests are being served; try again")
            await answer_problem(problem, send)
            return
        self._num_running += 1
        try:
            await self._app(scope, _replay(body, receive), send)
        finally:
            self._num_running -= 1

    async def _arrived(self, scope: Scope, receive: Receive) -> bytes | Problem:
        """The whole body, or why it is not taken."""
        if scope["method"] in _BODILESS:
            return b""
        most_s, limit = self._settings.body_timeout_s, self._settings.max_body_bytes
        try:
            async with asyncio.timeout(most_s):
                body = await _read_body(scope, receive, limit)
        except TimeoutError:
            return Problem(status=408, detail=f"the body did not arrive within {most_s:g} s")
        if body is None:
            return Problem(status=413, detail=f"the body exceeds {limit} bytes")
        kind = _header(scope, b"content-type")
        # A browser sends any other type to a foreign server without asking it first.
        if body and kind.partition(";")[0].strip().lower() != "application/json":
            return Problem(status=415, detail=f"body of type {kind!r}: expected application/json")
        return body

    def _admit(self, scope: Scope) -> tuple[Problem | None, TokenOwner | None]:
        raw_path = scope.get("raw_path") or scope["path"].encode()
        path = scope["path"]
        if _BAD_PATH.search(raw_path) or _DOTS.search(raw_path) or not path.isprintable():
            detail = "the path holds an encoded slash, a dot segment or a control character"
            return Problem(status=400, detail=detail, cause="INVALID_RESOURCE_URI"), None
        if path in _OPEN_PATHS:
            return None, None
        owner = self._doorkeeper.owner(_header(scope, b"authorization"))
        client = scope.get("client") or ("", 0)
        name = "" if owner is None else owner.name
        if not self._limiter.allows(f"{name}@{client[0]}"):
            detail = f"more than {self._settings.requests_per_s:g} requests a second"
            return self._softened(scope, Problem(status=429, detail=detail)), None
        if owner is None:
            return self._softened(scope, Problem(status=401, detail="a valid bearer token is needed")), None
        return (self._foreign(scope) if owner is LOCAL else None), owner

    def _foreign(self, scope: Scope) -> Problem | None:
        """Why a request without a token comes from no program of this machine: a web page's browser names others."""
        host, origin = _header(scope, b"host"), _header(scope, b"origin")
        if not self._is_own(f"//{host}"):
            detail = f"host {host!r}: without a token expected loopback or a name given to `serve --allow-host`"
        elif origin and not self._is_own(origin):
            detail = f"origin {origin!r}: without a token expected none, loopback or a `serve --allow-host` name"
        else:
            return None
        return Problem(status=403, detail=detail)

    def _is_own(self, url: str) -> bool:
        host = host_in(url)
        return is_loopback(host) or host in self._settings.local_hosts

    def _softened(self, scope: Scope, problem: Problem) -> Problem:
        if scope["method"] == "PUT" and self._is_known_policy(scope["path"]):
            return Problem(status=503, detail=f"{problem.detail}; the policy is kept as it is")
        return problem


def _log_request(correlation_id: str, method: str, route: str, status: int, elapsed_s: float) -> None:
    LOG.info(
        "request",
        extra={
            "correlation_id": correlation_id,
            "method": method,
            "route": route,
            "status": status,
            "elapsed_ms": round(1000 * elapsed_s, 2),
        },
    )


async def answer_problem(problem: Problem, send: Send) -> None:
    headers = [(b"content-type", MEDIA_TYPE.encode())]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (429, 503):
        headers.append((b"retry-after", b"1"))
    if problem.status == 408:
        # What comes late must not be taken for the next request.
        headers.append((b"connection", b"close"))
    body = problem.encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def _correlation_id(scope: Scope) -> str:
    given = _header(scope, b"x-correlation-id")
    # Not from the system: while another thread writes, each call out of the interpreter waits 5 ms to come back in.
    return given if _CORRELATION_ID.match(given) else f"{random.getrandbits(64):016x}"


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body; None where it is longer than the limit."""
    declared = _header(scope, b"content-length")
    if declared.isdigit() and int(declared) > limit:
        return None
    chunks, size, is_more = [], 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        is_more = message.get("more_body", False)
    return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the connection says (a disconnect)."""
    is_sent = False

    async def next_message() -> Message:
        nonlocal is_sent
        if not is_sent:
            is_sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return next_message

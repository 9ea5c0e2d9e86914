"""Status notifications to A1 consumers: only to allowed hosts, at addresses that were checked, never redirected."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from api.errors import RequestRefused, refuse
from api.goal_book import ENFORCED, StatusChange
from api.metrics import Metrics
from api.settings import ApiSettings

LOG = logging.getLogger("edgewright.notifications")
_TIMEOUT_S = 5.0
_MOST_HOSTS = 64
"""That notifications wait for at once."""
_MOST_WAITING = 1_000
"""Notifications for one host."""
_ATTEMPTS = 3
_NUM_RESOLVING = 8
"""Threads of our own: requests must not wait behind names that nobody resolves."""

Address = tuple[str, int]
Resolver = Callable[[str, int], Awaitable[list[str]]]


def check_destination(url: str, settings: ApiSettings) -> None:
    """Raises RequestRefused for a destination that notifications will not be sent to."""
    if not url:
        return
    if len(url) > 2000 or not url.isprintable() or " " in url:
        raise _bad("at most 2000 printable characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _bad(str(error)) from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise _bad("an http or https URL without credentials is needed")
    # Some other letters have ASCII ones as their small letters, and no header holds them.
    if not parts.netloc.isascii():
        raise _bad(f"host {parts.netloc[:100]!r}: expected ASCII, as in punycode")
    if host not in settings.callback_hosts:
        raise _bad(f"host {host[:100]!r} is not allowed on this server")


def _bad(why: str) -> RequestRefused:
    return refuse(400, f"notificationDestination: {why}", param="notificationDestination")


def is_allowed_address(address: str, settings: ApiSettings) -> bool:
    """Whether a notification may be sent to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast if not settings.callbacks_may_be_local else not ip.is_multicast


async def resolve(host: str, port: int, *, pool: Executor) -> list[str]:
    """The host's addresses, looked up in a thread of the pool."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(pool, look_up)
    return [str(entry[4][0]) for entry in found]


_Waiting = deque[tuple[str, dict[str, str]]]


class Notifier:
    """Sends in the background, in order for each host; one that is away costs the others nothing, us a counter."""

    def __init__(
        self,
        settings: ApiSettings,
        metrics: Metrics,
        resolver: Resolver | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """An attempt takes at most `timeout_s` of wall-clock time, however steadily something comes in."""
        self._timeout_s = timeout_s
        self._settings = settings
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(_NUM_RESOLVING, thread_name_prefix="resolve")
        self._resolver = resolver or partial(resolve, pool=self._pool)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, _Waiting] = {}
        """By host; a host that nothing waits for has no task."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """What waits is left unsent."""
        self._loop = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def notify(self, change: StatusChange) -> None:
        """From any thread."""
        goal, loop = change.goal, self._loop
        if not goal.notification_destination or loop is None:
            return
        document = status_document(goal.status, goal.reason)
        with contextlib.suppress(RuntimeError):  # the event loop has closed
            loop.call_soon_threadsafe(self._enqueue, goal.notification_destination, document)

    def _enqueue(self, destination: str, document: dict[str, str]) -> None:
        host = _host_of(destination)
        waiting = self._waiting.get(host)
        if self._loop is None or len(waiting or ()) >= _MOST_WAITING or (waiting is None and self._is_full):
            self._metrics.notifications.labels("dropped").inc()
            return
        if waiting is None:
            waiting = self._waiting[host] = deque()
            task = self._loop.create_task(self._drain(host, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        waiting.append((destination, document))

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= _MOST_HOSTS

    async def _drain(self, host: str, waiting: _Waiting) -> None:
        while waiting:
            result = await self._send_with_patience(*waiting.popleft())
            self._metrics.notifications.labels(result).inc()
        del self._waiting[host]

    async def _send_with_patience(self, destination: str, document: dict[str, str]) -> str:
        import httpx

        for attempt in range(_ATTEMPTS):
            try:
                return await self.send(destination, document)
            except (httpx.HTTPError, OSError) as error:
                LOG.warning("notification failed", extra={"error": str(error)[:200], "attempt": attempt + 1})
                await asyncio.sleep(0.2 * 2**attempt)
            except Exception:
                # Whatever is wrong with this one, those behind it must go out.
                LOG.exception("notification failed")
                break
        return "failed"

    async def send(self, destination: str, document: dict[str, str]) -> str:
        """One POST, to an address that was checked: the name is resolved once and the address is dialled.

        Raises OSError or httpx.HTTPError where nobody answers in time; the answer's body is not read.
        """
        import httpx

        parts = urlsplit(destination)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        if host not in self._settings.callback_hosts:
            return "refused"
        async with asyncio.timeout(self._timeout_s):
            allowed = [a for a in await self._resolver(host, port) if is_allowed_address(a, self._settings)]
            if not allowed:
                return "refused"
            address = f"[{allowed[0]}]" if ":" in allowed[0] else allowed[0]
            target = parts._replace(netloc=f"{address}:{port}").geturl()
            headers, extensions = {"host": parts.netloc}, {"sni_hostname": host} if parts.scheme == "https" else {}
            async with (
                httpx.AsyncClient(timeout=self._timeout_s, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", target, json=document, headers=headers, extensions=extensions) as response,
            ):
                return "delivered" if response.is_success else "answered_with_an_error"


def _host_of(destination: str) -> str:
    try:
        return urlsplit(destination).hostname or ""
    except ValueError:
        return ""


def status_document(status: str, reason: str) -> dict[str, str]:
    """A1-P's policy status object."""
    if status == ENFORCED or not reason:
        return {"enforceStatus": status}
    return {"enforceStatus": status, "enforceReason": reason}

"""Status notifications to A1 consumers: only to allowed hosts, at addresses that were checked, never redirected."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from api.errors import refuse
from api.goal_book import ENFORCED, StatusChange
from api.metrics import Metrics
from api.settings import ApiSettings

LOG = logging.getLogger("edgewright.notifications")
_TIMEOUT_S = 5.0
_MAX_WAITING = 10_000
_ATTEMPTS = 3

Address = tuple[str, int]
Resolver = Callable[[str, int], Awaitable[list[str]]]


def check_destination(url: str, settings: ApiSettings) -> None:
    """Raises RequestRefused for a destination that notifications will not be sent to."""
    if not url:
        return
    if len(url) > 2000 or not url.isprintable() or " " in url:
        raise refuse(400, "notificationDestination: at most 2000 printable characters", param="notificationDestination")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise refuse(400, f"notificationDestination: {error}", param="notificationDestination") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        detail = "notificationDestination: an http or https URL without credentials is needed"
        raise refuse(400, detail, param="notificationDestination")
    if host not in settings.callback_hosts:
        detail = f"notificationDestination: host {host[:100]!r} is not allowed on this server"
        raise refuse(400, detail, param="notificationDestination")


def is_allowed_address(address: str, settings: ApiSettings) -> bool:
    """Whether a notification may be sent to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast if not settings.callbacks_may_be_local else not ip.is_multicast


async def resolve(host: str, port: int) -> list[str]:
    """The host's addresses."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Notifier:
    """Sends in the background; a destination that is away costs the server nothing but a counter."""

    def __init__(self, settings: ApiSettings, metrics: Metrics, resolver: Resolver = resolve) -> None:
        self._settings = settings
        self._metrics = metrics
        self._resolver = resolver
        self._waiting: asyncio.Queue[tuple[str, dict[str, str]]] = asyncio.Queue(_MAX_WAITING)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._loop = None

    def notify(self, change: StatusChange) -> None:
        """From any thread."""
        goal = change.goal
        if not goal.notification_destination or self._loop is None:
            return
        self._loop.call_soon_threadsafe(
            self._enqueue, goal.notification_destination, status_document(goal.status, goal.reason)
        )

    def _enqueue(self, destination: str, document: dict[str, str]) -> None:
        if self._waiting.full():
            self._metrics.notifications.labels("dropped").inc()
            return
        self._waiting.put_nowait((destination, document))

    async def _run(self) -> None:
        while True:
            destination, document = await self._waiting.get()
            result = await self._send_with_patience(destination, document)
            self._metrics.notifications.labels(result).inc()

    async def _send_with_patience(self, destination: str, document: dict[str, str]) -> str:
        import httpx

        for attempt in range(_ATTEMPTS):
            try:
                return await self.send(destination, document)
            except (httpx.HTTPError, OSError) as error:
                LOG.warning("notification failed", extra={"error": str(error)[:200], "attempt": attempt + 1})
                await asyncio.sleep(0.2 * 2**attempt)
        return "failed"

    async def send(self, destination: str, document: dict[str, str]) -> str:
        """One POST, to an address that was checked: the name is resolved once and the address is dialled."""
        import httpx

        parts = urlsplit(destination)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        allowed = [a for a in await self._resolver(host, port) if is_allowed_address(a, self._settings)]
        if not allowed:
            return "refused"
        address = f"[{allowed[0]}]" if ":" in allowed[0] else allowed[0]
        target = parts._replace(netloc=f"{address}:{port}").geturl()
        extensions = {"sni_hostname": host} if parts.scheme == "https" else {}
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            response = await client.post(target, json=document, headers={"host": parts.netloc}, extensions=extensions)
        return "delivered" if response.is_success else "answered_with_an_error"


def status_document(status: str, reason: str) -> dict[str, str]:
    """A1-P's policy status object."""
    if status == ENFORCED or not reason:
        return {"enforceStatus": status}
    return {"enforceStatus": status, "enforceReason": reason}

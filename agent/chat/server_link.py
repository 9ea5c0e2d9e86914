"""Asks a running server over REST; says plainly whether it is away, refuses, or was asked for nonsense."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx

from agent.errors import AgentError, AgentInputInvalid

_TIMEOUT_S = 10.0
_PLANNING_S = 120.0


class ServerUnreachable(AgentError):
    """No answer came: nobody listens there, or the connection broke."""

    exit_status = 1


class ServerRefused(AgentError):
    """The server answered, and said no."""

    exit_status = 4


class ServerLink:
    """A connection to one server; closed at the end of the `with` block."""

    def __init__(self, url: str, token: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise AgentInputInvalid(f"server {url[:80]!r}: expected http://host:port or https://host:port")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.url = url.rstrip("/")
        # No connection outlives its request: a talk pauses for minutes, and nobody is told when it ends.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(
            base_url=self.url, headers=headers, timeout=_TIMEOUT_S, limits=limits, trust_env=False
        )

    def get(self, path: str) -> Any:
        """The document at a path; raises ServerUnreachable or ServerRefused."""
        return self._ask("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the server answers to a document; raises ServerUnreachable or ServerRefused."""
        return self._ask("POST", path, json=body, timeout=_PLANNING_S)

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        try:
            response = self._client.request(method, path, **given)
        except httpx.HTTPError as error:
            raise ServerUnreachable(
                f"server {self.url} can't be reached ({str(error)[:120]}); is `edgewright serve` running there?"
            ) from error
        if response.is_error:
            raise ServerRefused(f"server {self.url} refuses {path}: {response.status_code}, {_detail(response)}")
        try:
            return response.json()
        except ValueError as error:
            raise ServerUnreachable(
                f"server {self.url}: {path} is no JSON; is this the port of `edgewright serve`?"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.close()


def _detail(response: httpx.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        return response.reason_phrase
    detail = document.get("detail") if isinstance(document, dict) else None
    return str(detail or response.reason_phrase)[:200]

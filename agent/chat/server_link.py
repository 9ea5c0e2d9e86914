"""Asks a running server over REST; says plainly whether it is away, refuses, or was asked for nonsense."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from agent.errors import AgentError, AgentInputInvalid

_TIMEOUT_S = 10.0
_PLANNING_S = 120.0
_TOKEN = re.compile(r"[!-~]+")
UNLESS_APPROVED = "nothing was changed by this request, except by a plan that an approver has approved"


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
            raise _no_address(url)
        # The client's own error would quote the token.
        if token is not None and not _TOKEN.fullmatch(token):
            raise AgentInputInvalid("token: expected printable ASCII without blanks")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.url = url.rstrip("/")
        # No connection outlives its request: a talk pauses for minutes, and nobody is told when it ends.
        limits = httpx.Limits(max_keepalive_connections=0)
        try:
            self._client = httpx.Client(
                base_url=self.url, headers=headers, timeout=_TIMEOUT_S, limits=limits, trust_env=False
            )
        except httpx.InvalidURL as error:
            raise _no_address(url) from error

    def get(self, path: str) -> Any:
        """The document at a path; raises ServerUnreachable or ServerRefused."""
        return self._ask("GET", path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the server answers to a document; raises ServerUnreachable or ServerRefused."""
        return self._ask("POST", path, json=body, timeout=_PLANNING_S)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events and their documents, until the server ends them; an `answer` is the last.

        Raises ServerUnreachable, also where the server breaks off before that, or ServerRefused.
        """
        event, is_whole = "", False
        try:
            with self._client.stream(
                "POST", path, json=body, timeout=_PLANNING_S, headers={"Accept": "text/event-stream"}
            ) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(self.url, path, response)
                for line in response.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "event":
                        event = value
                    elif name == "data":
                        document = _parsed(self.url, path, value)
                        if event == "problem":
                            raise ServerRefused(f"server {self.url}: {str(document.get('detail'))[:200]}")
                        is_whole = is_whole or event == "answer"
                        yield event, document
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if not is_whole:
            raise ServerUnreachable(f"server {self.url} broke off in mid-answer; {UNLESS_APPROVED}")

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, **given: Any) -> Any:
        try:
            response = self._client.request(method, path, **given)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if response.is_error:
            raise _refusal(self.url, path, response)
        try:
            return response.json()
        except ValueError as error:
            raise ServerUnreachable(
                f"server {self.url}: {path} is no JSON; is this the port of `edgewright serve`?"
            ) from error

    def _away(self, error: httpx.HTTPError) -> ServerUnreachable:
        if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
            return ServerUnreachable(f"server {self.url} broke off in mid-answer; the session is kept")
        return ServerUnreachable(
            f"server {self.url} can't be reached ({str(error)[:120]}); is `edgewright serve` running there?"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self.close()


def _no_address(url: str) -> AgentInputInvalid:
    return AgentInputInvalid(f"server {url[:80]!r}: expected http://host:port or https://host:port")


def _refusal(url: str, path: str, response: httpx.Response) -> ServerRefused:
    return ServerRefused(f"server {url} refuses {path}: {response.status_code}, {_detail(response)}")


def _parsed(url: str, path: str, value: str) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except ValueError as error:
        raise ServerUnreachable(f"server {url}: {path} sends no JSON; is this `edgewright serve`?") from error
    return document if isinstance(document, dict) else {}


def _detail(response: httpx.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        return response.reason_phrase
    detail = document.get("detail") if isinstance(document, dict) else None
    return str(detail or response.reason_phrase)[:200]

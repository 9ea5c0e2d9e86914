"""A running server through its REST face: read-only, by slash command."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import click
import httpx

from agent.errors import AgentError, AgentInputInvalid
from agent.tools.finding import Finding

_TIMEOUT_S = 10.0
_PATHS = {
    "/status": "/v1/digests",
    "/topology": "/v1/topology",
    "/kpis": "/v1/kpis",
    "/slices": "/v1/schedules",
    "/history": "/v1/policies",
    "/approvals": "/v1/approvals",
    "/goal": "/v1/goals",
    "/targets": "/v1/targets",
    "/model": "/v1/models",
    "/audit": "/v1/audit",
}
_HELP = f"Reading a server; commands: {', '.join(_PATHS)}, /exit."


class ServerUnreachable(AgentError):
    """A server that can't be reached or answers with an error."""

    exit_status = 1


class ServerView:
    """Asks the server for its views; changes go through its own approval routes, not through here."""

    def __init__(self, url: str, token: str | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise AgentInputInvalid(f"server {url[:80]!r}: expected http://host:port or https://host:port")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT_S, trust_env=False)

    def show(self, command: str) -> Finding:
        """One view; raises AgentInputInvalid for an unknown command, ServerUnreachable where no answer comes."""
        word = command.strip().split(" ")[0]
        if word in ("/help", "help"):
            return Finding(text=_HELP)
        if word not in _PATHS:
            raise AgentInputInvalid(f"command {word[:40]!r} is unknown here; {_HELP}")
        document = self._get(_PATHS[word])
        return Finding(text=_outline(document), data={"document": document})

    def loop(self) -> None:
        """Commands until /exit; a server that goes away is said and the view kept."""
        click.echo(_HELP)
        while True:
            try:
                line = click.prompt("server", prompt_suffix="> ", default="/status", show_default=False)
            except click.Abort:
                return
            if line.strip() in ("/exit", "/quit"):
                return
            try:
                click.echo(self.show(line).text)
            except AgentError as error:
                click.echo(f"Error: {error}", err=True)

    def _get(self, path: str) -> Any:
        try:
            response = self._client.get(path)
            response.raise_for_status()
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ServerUnreachable(f"server {self._client.base_url}: {path}: {str(error)[:200]}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace
        self._client.close()


def _outline(document: Any) -> str:
    """A line per row: a server's rows are shown as they are."""
    rows = document if isinstance(document, list) else document.get("items", [document])
    return "\n".join(json.dumps(row, ensure_ascii=False)[:400] for row in rows[:20]) or "(nothing)"

"""A server's own documents by slash command, without opening a chat: the quick look."""

from __future__ import annotations

import json
from typing import Any

from agent.chat.server_link import ServerLink
from agent.tools.finding import Finding

VIEWS = {
    "/kpis": "/v1/kpis",
    "/schedules": "/v1/schedules",
    "/policies": "/v1/policies",
    "/approvals": "/v1/approvals",
    "/targets": "/v1/targets",
    "/planner": "/v1/models",
    "/audit": "/v1/audit",
}
"""Command and path; every other command and every sentence goes to the chat."""


def show_view(link: ServerLink, command: str) -> Finding:
    """One of VIEWS, row by row; raises ServerUnreachable or ServerRefused."""
    document = link.get(VIEWS[command.split(maxsplit=1)[0]])
    return Finding(text=_outline(document), data={"document": document})


def _outline(document: Any) -> str:
    """A line per row: a server's rows are shown as they are."""
    rows = document if isinstance(document, list) else document.get("items", [document])
    return "\n".join(json.dumps(row, ensure_ascii=False)[:400] for row in rows[:20]) or "(nothing)"

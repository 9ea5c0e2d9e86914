"""Opens a conversation: in this process, or with a server that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.chat.answer import clean_session_name
from agent.errors import AgentInputInvalid

if TYPE_CHECKING:
    from agent.chat.room_options import RoomOptions
    from agent.chat.talk import Talk


def open_talk(options: RoomOptions, model: str | None, folder: Path, *, name: str | None, is_resumed: bool) -> Talk:
    """A server's own model answers there; a model brought along answers here, about a copy of the server's network.

    Raises AgentInputInvalid for changes with a model brought along, and for an impossible name.
    """
    from agent.chat.talk import UntilExit

    return UntilExit(_open(options, model, folder, name=name, is_resumed=is_resumed))


def _open(options: RoomOptions, model: str | None, folder: Path, *, name: str | None, is_resumed: bool) -> Talk:
    is_brought_model = model not in (None, "embedded")
    if options.server is not None and is_brought_model and not options.is_read_only:
        raise AgentInputInvalid(f"--allow-changes: with --model {model} the chat only looks; leave --model out")
    if options.server is None or is_brought_model:
        from agent.chat.opening import open_session
        from agent.chat.talk import OwnTalk

        return OwnTalk(open_session(options, model, folder, session=name, is_resumed=is_resumed))
    from agent.chat.server_link import ServerLink
    from agent.chat.server_talk import ServerTalk, latest_log

    wanted = latest_log(folder) if is_resumed else name
    log = None if wanted is None else folder / f"{clean_session_name(wanted)}.jsonl"
    link = ServerLink(options.server, options.token)
    return ServerTalk(link, is_read_only=options.is_read_only, name=wanted, log=log)

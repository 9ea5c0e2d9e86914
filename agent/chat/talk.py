"""A conversation as the terminal and the pipe see it, whoever answers: this process or a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from agent.chat.slash import answer_line

if TYPE_CHECKING:
    from agent.chat.answer import Answer, Pending
    from agent.chat.session import ChatSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who hears an answer as it comes, and is asked before anything changes."""

    decide: Callable[[Pending], bool] | None = None
    """None where nobody is there."""
    on_text: Callable[[str], None] = lambda _: None
    on_call: Callable[[str, dict[str, Any]], None] = lambda _name, _arguments: None


class Talk(Protocol):
    """One conversation."""

    def answer(self, line: str, listener: Listener) -> Answer:
        """What came of a sentence or a command; trouble is an answer too."""
        ...

    def words(self) -> list[str]:
        """Slices and cells, for completion."""
        ...

    def warm_up(self) -> None:
        """Read behind the prompt what the first answer would wait for."""
        ...


class OwnTalk:
    """A session in this process."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session

    def answer(self, line: str, listener: Listener) -> Answer:
        self.session.decide = listener.decide
        self.session.on_text, self.session.on_call = listener.on_text, listener.on_call
        return answer_line(self.session, line)

    def words(self) -> list[str]:
        topology = self.session.room.topology
        return [*(profile.name for profile in topology.slices), *(str(site.id) for site in topology.cells)]

    def warm_up(self) -> None:
        from agent.chat.opening import warm_up

        warm_up(self.session)

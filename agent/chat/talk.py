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


class UntilExit:
    """A conversation that `/exit` or `/quit` ends, also where the lines come from a pipe."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._is_over = False

    def answer(self, line: str, listener: Listener) -> Answer:
        from agent.chat.answer import Answer

        if self._is_over:
            return Answer(text="(left unread: the chat had ended)")
        if is_exit(line):
            self._is_over = True
            return Answer(text="Bye.")
        return self._talk.answer(line, listener)

    def words(self) -> list[str]:
        return self._talk.words()

    def warm_up(self) -> None:
        self._talk.warm_up()


def is_exit(line: str) -> bool:
    """Whether a line ends the conversation."""
    return line.strip().lower() in ("/exit", "/quit")


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

"""Conversations that this server holds: each caller's own, with changes that wait for a person's word."""

from __future__ import annotations

import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.chat.answer import Answer, Pending, answer_document, clean_request
from agent.errors import AgentError, AgentInputInvalid, StoreFull, StoreUnusable
from agent.store.sessions import count_sessions, load_session
from agent.store.tables import MAX_SESSION_ID
from agent.store.tokens import TokenOwner
from api.errors import RequestRefused, refuse
from api.operations import Operations
from api.security import RateLimiter, may
from api.settings import ApiSettings
from api.waiting_changes import LIFETIME_S, WaitingChange, WaitingChanges

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agent.chat.session import ChatSession
    from telemetry_sim.topology import Topology

Hear = Callable[[str, dict[str, Any]], None]
"""Told of what comes up while an answer is made: an event's name and its document."""

_NUM_WORKERS = 2
"""For questions; confirmations have one of their own, so that no question holds a change up."""
_MOST_ASKED = 4
"""Of one caller at a time, questions and confirmations apart."""
_MOST_ASKED_BY_ALL = 64
_MOST_OPEN = 16
"""Sessions of one caller in memory."""
_MOST_KEPT = 100
"""Named sessions of one caller."""
_UNNAMED = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A session in memory."""

    session: ChatSession
    role: str
    is_read_only: bool


class Conversations:
    """Answers in threads of its own; nothing is read before the first question."""

    def __init__(
        self,
        operations: Operations,
        settings: ApiSettings,
        make_model: Callable[[Topology], BaseChatModel] | None = None,
    ) -> None:
        self._operations = operations
        self._settings = settings
        self._make_model = make_model
        self._limiter = RateLimiter(per_s=settings.chats_per_s, burst=settings.chat_burst)
        self._workers: dict[str, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._model_lock = threading.Lock()
        self._model: BaseChatModel | None = None
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()
        self._busy: set[tuple[str, str]] = set()
        """Sessions that are being opened, answered in or changed something by."""
        self._waiting = WaitingChanges(operations.store.clock)
        self._num_asked: Counter[tuple[str, str]] = Counter()

    @property
    def is_ready(self) -> bool:
        """Whether the model has been read."""
        return self._model is not None

    def warm_up(self) -> None:
        """Begin to read what the first answer would wait for."""
        with self._lock:
            if not self.is_ready:
                self._pool("chat").submit(self._read_model)

    def run(
        self, caller: TokenOwner, work: Callable[[], dict[str, Any]], *, is_confirmation: bool = False
    ) -> Future[dict[str, Any]]:
        """In a thread of the chat's; raises RequestRefused (429, 503) where too much is asked."""
        if not self._limiter.allows(caller.name):
            raise refuse(429, f"more than {self._settings.chats_per_s:g} chat requests a second")
        key = (caller.name, "confirmation" if is_confirmation else "chat")
        with self._lock:
            if self._num_asked[key] >= _MOST_ASKED:
                raise refuse(429, f"{_MOST_ASKED} of your requests are being answered; try again")
            if self._num_asked.total() >= _MOST_ASKED_BY_ALL:
                raise refuse(503, "too many questions are being answered; try again")
            self._num_asked[key] += 1
            future = self._pool(key[1]).submit(work)
        future.add_done_callback(partial(self._note_done, key))
        return future

    def answer(
        self, caller: TokenOwner, request: str, name: str | None, *, is_read_only: bool, hear: Hear
    ) -> dict[str, Any]:
        """What comes of a sentence or a command; raises AgentError or RequestRefused for what can't be answered."""
        from agent.chat.slash import OWN_MACHINE, answer_line

        word = clean_request(request).split()[0].lower()
        if word in OWN_MACHINE:
            raise AgentInputInvalid(f"command {word!r} is not for a server: it is about the machine of who types it")
        name = name or _UNNAMED + secrets.token_hex(8)
        _require_short(caller, name)
        with self._held(caller, name):
            session = self._opened(caller, name, is_read_only=is_read_only).session
            described: list[dict[str, Any]] = []
            session.on_text = lambda piece: hear("text", {"piece": piece})
            session.on_call = lambda tool, given: hear("call", {"tool": tool, "arguments": given})
            session.on_pending = lambda pending: described.append(self._describe(caller, name, pending, hear))
            answer = answer_line(session, request)
        return {"session": name, **answer_document(request, answer), "pending": described}

    def confirm(self, caller: TokenOwner, pending_id: str, binding: str, *, is_agreed: bool) -> dict[str, Any]:
        """Do, or drop, a change that was described to this caller.

        Each is decided once: the same word again gets what came of it, another one is refused (404).
        """
        change = self._waiting.find(caller.name, pending_id)
        if not may(caller, "operator"):
            raise refuse(403, f"role operator is needed, the token has {caller.role}")
        if change.binding != binding:
            raise refuse(412, f"pending_id {pending_id!r} is bound to {change.binding}, got {binding}", param="binding")
        with self._held(caller, change.session):
            if change.told is None:
                answer = self._decided(caller, pending_id, change, is_agreed=is_agreed)
                told = {"session": change.session, **answer_document("", answer)}
                self._waiting.settle(change, told, is_agreed=is_agreed)
                return told
            if change.is_agreed is not is_agreed:
                raise refuse(404, f"pending_id {pending_id!r} is decided on already")
            return change.told

    def close(self) -> None:
        """Answers that are being made are left behind."""
        with self._lock:
            workers, self._workers = self._workers, {}
        for pool in workers.values():
            pool.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _held(self, caller: TokenOwner, name: str) -> Iterator[None]:
        """One at a time in a session, whether it is in memory or not; raises RequestRefused (409)."""
        key = (caller.name, name)
        with self._lock:
            if key in self._busy:
                raise refuse(409, f"session {name!r} is answering another request", cause="SESSION_BUSY")
            self._busy.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(key)

    def _decided(self, caller: TokenOwner, pending_id: str, change: WaitingChange, *, is_agreed: bool) -> Answer:
        """What comes of the word; what fails before the change is made leaves it waiting."""
        if not is_agreed:
            return Answer(text=f"Nothing changed (not approved): {change.pending.summary}.", exit_status=5)
        if change.role != caller.role:
            raise refuse(403, f"the change was described to role {change.role}, the token has {caller.role}")
        session = self._opened(caller, change.session, is_read_only=False).session
        try:
            return _carried_out(session, change.pending, change.binding)
        except RequestRefused:
            self._waiting.drop(pending_id)
            raise

    def _opened(self, caller: TokenOwner, name: str, *, is_read_only: bool) -> _Open:
        """The caller's session of that name, opened anew where the role or what it may do is another by now."""
        with self._lock:
            known = self._open.get((caller.name, name))
            if known is not None:
                self._open.move_to_end((caller.name, name))
        if known is not None and (known.role, known.is_read_only) == (caller.role, is_read_only):
            return known
        made = self._make_session(caller, name, is_read_only=is_read_only)
        if known is not None:
            made.session.take_over(known.session)
            made.session.room.proposal = known.session.room.proposal
        with self._lock:
            self._open[(caller.name, name)] = made
            own = [key for key in self._open if key[0] == caller.name]
            for key in own[: max(0, len(own) - _MOST_OPEN)]:
                del self._open[key]
        return made

    def _make_session(self, caller: TokenOwner, name: str, *, is_read_only: bool) -> _Open:
        from agent.chat.session import ChatSession
        from api.served_room import open_served_room

        is_kept, store = not name.startswith(_UNNAMED), self._operations.store
        full_name = f"{caller.name}/{name}"
        if is_kept and store.read(lambda c: load_session(c, full_name)) is None:
            num_kept = store.read(lambda c: count_sessions(c, caller.name))
            if num_kept >= _MOST_KEPT:
                raise StoreFull(f"{num_kept} sessions are kept already; use one of them")
        room = open_served_room(self._operations, caller, is_read_only=is_read_only, max_goals=self._settings.max_goals)
        session = ChatSession(room, self._model_of_its_own(), name=full_name, is_kept=is_kept)
        return _Open(session=session, role=caller.role, is_read_only=is_read_only)

    def _model_of_its_own(self) -> BaseChatModel:
        from agent.models.chat_model import EmbeddedChatModel

        model = self._read_model()
        return model.sibling() if isinstance(model, EmbeddedChatModel) else model

    def _read_model(self) -> BaseChatModel:
        with self._model_lock:
            if self._model is None:
                self._model = self._read()
            return self._model

    def _read(self) -> BaseChatModel:
        if self._make_model is not None:
            return self._make_model(self._operations.topology)
        from agent.chat.chat_agent import read_libraries
        from agent.models.chat_model import EmbeddedChatModel

        import_module("agent.chat.session")  # The first question would wait for it.
        model = EmbeddedChatModel.of(self._operations.topology)
        model.load()
        read_libraries()
        return model

    def _describe(self, caller: TokenOwner, name: str, pending: Pending, hear: Hear) -> dict[str, Any]:
        """Remember a change that nobody said yes to, and tell of it."""
        binding = pending.binding()
        change = WaitingChange(owner=caller.name, role=caller.role, session=name, pending=pending, binding=binding)
        document = {
            "id": self._waiting.add(change),
            "binding": binding,
            "lifetime_s": LIFETIME_S,
            "tool": pending.tool,
            "arguments": pending.arguments,
            "summary": pending.summary,
            "resolved": pending.resolved,
        }
        hear("pending", document)
        return document

    def _pool(self, kind: str) -> ThreadPoolExecutor:
        if kind not in self._workers:
            num_workers = _NUM_WORKERS if kind == "chat" else 1
            self._workers[kind] = ThreadPoolExecutor(num_workers, thread_name_prefix=kind)
        return self._workers[kind]

    def _note_done(self, key: tuple[str, str], future: Future[dict[str, Any]]) -> None:
        del future
        with self._lock:
            self._num_asked[key] -= 1
            if not self._num_asked[key]:
                del self._num_asked[key]


def _require_short(caller: TokenOwner, name: str) -> None:
    """Raises RequestRefused (400) for a session that could not be kept, before anything is done in it."""
    most = MAX_SESSION_ID - len(caller.name) - 1
    if not name.startswith(_UNNAMED) and len(name) > most:
        why = f"{len(name)} characters; with the caller's name {caller.name!r} at most {max(0, most)} can be kept"
        raise refuse(400, f"session {name!r}: {why}", param="session")


def _carried_out(session: ChatSession, pending: Pending, binding: str) -> Answer:
    """The change, where it still comes to what was shown; raises RequestRefused (409)."""
    try:
        now = session.resolve(pending.tool, pending.arguments)
    except StoreUnusable:
        raise
    except AgentError as error:
        raise refuse(409, f"it can't be done any more: {error}", cause="CHANGE_OUTDATED") from error
    if now.binding() != binding:
        raise refuse(409, "what it comes to has changed since it was shown; ask again", cause="CHANGE_OUTDATED")
    session.start_request()
    session.decide = lambda shown: shown.binding() == binding
    try:
        found = session.run_tool(pending.tool, pending.arguments)
    finally:
        session.decide = None
    calls = [session.as_call(*made) for made in session.toolbox.found]
    if not calls:
        calls = [session.as_call(pending.tool, pending.arguments, found)]
    return Answer(text=found.text, calls=calls, exit_status=found.exit_status)

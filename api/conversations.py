"""Conversations that this server holds: each caller's own, with changes that wait for a person's word."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.chat.answer import Answer, Pending, answer_document
from agent.errors import AgentError, AgentInputInvalid, StoreFull
from agent.store.sessions import count_sessions, load_session
from agent.store.tokens import TokenOwner
from api.errors import refuse
from api.operations import Operations
from api.security import RateLimiter, may
from api.settings import ApiSettings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agent.chat.session import ChatSession
    from telemetry_sim.topology import Topology

Hear = Callable[[str, dict[str, Any]], None]
"""Told of what comes up while an answer is made: an event's name and its document."""

NUM_WORKERS = 2
_MOST_WAITING = 16
_MOST_OPEN = 64
_MOST_KEPT = 100
"""Named sessions of one caller."""
_MOST_PENDING = 256
_PENDING_S = 600.0
_UNNAMED = "~"


@dataclass(slots=True, kw_only=True)
class _Open:
    """A session in memory."""

    session: ChatSession
    role: str
    is_read_only: bool
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A change that was described to one caller."""

    owner: str
    name: str
    opened: _Open
    pending: Pending
    binding: str
    expires_s: float


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
        self._workers: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._model_lock = threading.Lock()
        self._model: BaseChatModel | None = None
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._num_running = 0

    @property
    def is_ready(self) -> bool:
        """Whether the model has been read."""
        return self._model is not None

    def warm_up(self) -> None:
        """Begin to read what the first answer would wait for."""
        with self._lock:
            if not self.is_ready:
                self._pool().submit(self._read_model)

    def run(self, caller: TokenOwner, work: Callable[[], dict[str, Any]]) -> Future[dict[str, Any]]:
        """In a thread of the chat's; raises RequestRefused (429, 503) where too much is asked."""
        if not self._limiter.allows(caller.name):
            raise refuse(429, f"more than {self._settings.chats_per_s:g} chat requests a second")
        with self._lock:
            if self._num_running >= _MOST_WAITING:
                raise refuse(503, "too many questions are being answered; try again")
            self._num_running += 1
            future = self._pool().submit(work)
        future.add_done_callback(self._note_done)
        return future

    def answer(
        self, caller: TokenOwner, request: str, name: str | None, *, is_read_only: bool, hear: Hear
    ) -> dict[str, Any]:
        """What comes of a sentence or a command; raises AgentError or RequestRefused for what can't be answered."""
        from agent.chat.answer import clean_request
        from agent.chat.slash import OWN_MACHINE, answer_line

        word = clean_request(request).split()[0].lower()
        if word in OWN_MACHINE:
            raise AgentInputInvalid(f"command {word!r} is not for a server: it is about the machine of who types it")
        name = name or _UNNAMED + secrets.token_hex(8)
        opened = self._opened(caller, name, is_read_only=is_read_only)
        if not opened.lock.acquire(blocking=False):
            raise refuse(409, f"session {name!r} is answering another request", cause="SESSION_BUSY")
        try:
            session = opened.session
            described: list[dict[str, Any]] = []
            session.on_text = lambda piece: hear("text", {"piece": piece})
            session.on_call = lambda tool, given: hear("call", {"tool": tool, "arguments": given})
            session.on_pending = lambda pending: described.append(self._describe(caller, name, opened, pending, hear))
            answer = answer_line(session, request)
        finally:
            opened.lock.release()
        return {"session": name, **answer_document(request, answer), "pending": described}

    def confirm(self, caller: TokenOwner, pending_id: str, binding: str, *, is_agreed: bool) -> dict[str, Any]:
        """Do, or drop, a change that was described to this caller; each is decided once."""
        waiting = self._take(caller, pending_id)
        if waiting.binding != binding:
            raise refuse(
                412, f"pending_id {pending_id!r} is bound to {waiting.binding}, got {binding}", param="binding"
            )
        pending, session = waiting.pending, waiting.opened.session
        if not is_agreed:
            answer = Answer(text=f"Nothing changed (not approved): {pending.summary}.", exit_status=5)
            return {"session": waiting.name, **answer_document("", answer)}
        if waiting.opened.role != caller.role:
            raise refuse(403, f"the change was described to role {waiting.opened.role}, the token has {caller.role}")
        if not waiting.opened.lock.acquire(blocking=False):
            raise refuse(409, f"session {waiting.name!r} is answering another request", cause="SESSION_BUSY")
        try:
            return {"session": waiting.name, **answer_document("", _carried_out(session, pending, binding))}
        finally:
            waiting.opened.lock.release()

    def close(self) -> None:
        """Answers that are being made are left behind."""
        with self._lock:
            workers, self._workers = self._workers, None
        if workers is not None:
            workers.shutdown(wait=False, cancel_futures=True)

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
        with self._lock:
            self._open[(caller.name, name)] = made
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
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
        return model.twin() if isinstance(model, EmbeddedChatModel) else model

    def _read_model(self) -> BaseChatModel:
        with self._model_lock:
            if self._model is None:
                self._model = self._read()
            return self._model

    def _read(self) -> BaseChatModel:
        if self._make_model is not None:
            return self._make_model(self._operations.topology)
        import agent.chat.session
        from agent.chat.chat_agent import read_libraries
        from agent.models.chat_model import EmbeddedChatModel

        del agent.chat.session
        model = EmbeddedChatModel.of(self._operations.topology)
        model.load()
        read_libraries()
        return model

    def _describe(self, caller: TokenOwner, name: str, opened: _Open, pending: Pending, hear: Hear) -> dict[str, Any]:
        """Remember a change that nobody said yes to, and tell of it."""
        pending_id, binding = secrets.token_hex(8), pending.binding()
        waiting = _Waiting(
            owner=caller.name,
            name=name,
            opened=opened,
            pending=pending,
            binding=binding,
            expires_s=self._operations.store.clock() + _PENDING_S,
        )
        with self._lock:
            self._waiting[pending_id] = waiting
            while len(self._waiting) > _MOST_PENDING:
                self._waiting.popitem(last=False)
        document = {
            "id": pending_id,
            "binding": binding,
            "lifetime_s": _PENDING_S,
            "tool": pending.tool,
            "arguments": pending.arguments,
            "summary": pending.summary,
            "resolved": pending.resolved,
        }
        hear("pending", document)
        return document

    def _take(self, caller: TokenOwner, pending_id: str) -> _Waiting:
        """The change that waits, taken out; raises RequestRefused (403, 404)."""
        with self._lock:
            waiting = self._waiting.get(pending_id)
            if waiting is None or waiting.owner != caller.name or waiting.expires_s < self._operations.store.clock():
                raise refuse(404, f"pending_id {pending_id!r} is unknown, decided on already, or has expired")
            if not may(caller, "operator"):
                raise refuse(403, f"role operator is needed, the token has {caller.role}")
            return self._waiting.pop(pending_id)

    def _pool(self) -> ThreadPoolExecutor:
        if self._workers is None:
            self._workers = ThreadPoolExecutor(NUM_WORKERS, thread_name_prefix="chat")
        return self._workers

    def _note_done(self, future: Future[dict[str, Any]]) -> None:
        del future
        with self._lock:
            self._num_running -= 1


def _carried_out(session: ChatSession, pending: Pending, binding: str) -> Answer:
    """The change, where it still comes to what was shown; raises RequestRefused (409)."""
    try:
        now = session.resolve(pending.tool, pending.arguments)
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

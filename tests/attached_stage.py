"""Any model, any caller, any order, over REST: random conversations with a server, and a witness at its dispatcher."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from agent.chat.answer import Pending
from agent.control_room import ControlRoom
from agent.errors import AgentError
from agent.gate.risk import Mode
from agent.models.scripted_chat_model import ScriptedChatModel
from agent.store.tokens import TokenOwner
from api.conversations import Conversations
from api.errors import RequestRefused
from api.operations import Operations
from api.served_room import open_served_room
from api.serving import ServeOptions, build_operations
from api.settings import ApiSettings
from telemetry_sim.errors import TelemetrySimError
from tests.fuzz_stage import Step, Witness, WitnessedDispatcher, goals_of

ROLES = ("viewer", "operator", "approver")
CALLERS = st.one_of(st.just(["approver"] * 7), st.lists(st.sampled_from([*ROLES, "approver"]), min_size=7, max_size=7))
"""Who takes each step: one who may do everything, or several."""
_PLAN_TOOLS = ("approve_plan", "apply_plan", "reject_plan")


@contextmanager
def witnessed_server() -> Iterator[tuple[Operations, Witness]]:
    """A server that only suggests, with a small network that has been seen once, under a witness."""
    with tempfile.TemporaryDirectory() as folder:
        # In a file: the loop writes behind, which a store in memory does not bear.
        options = ServeOptions(
            store_url=f"sqlite:///{folder}/store.db", num_devices=12, mode=Mode.SUGGEST_ONLY, max_share_step_pct=100
        )
        operations, witness = build_operations(options), Witness()
        try:
            operations.turn()
            operations.gate._dispatcher = WitnessedDispatcher(operations.gate._dispatcher, witness)
            yield operations, witness
        finally:
            operations.store.close()


class AttachedTalk:
    """Callers of three roles on one server, and mischief with what waits for a word."""

    def __init__(self, operations: Operations, witness: Witness) -> None:
        self.operations = operations
        self.witness = witness
        self.model = ScriptedChatModel(script=[AIMessage(content="")])
        self.conversations = Conversations(operations, ApiSettings(), make_model=lambda _: self.model)
        self.room: ControlRoom = open_served_room(
            operations, TokenOwner(name="judge", role="viewer"), is_read_only=True
        )
        self.num_confirmed = 0

    def take(self, step: Step, role: str, *, is_read_only: bool) -> list[str]:
        """One step of one caller; the changes that nobody stood behind who may."""
        before = goals_of(self.room)
        self.model.script = [*self.model.script[: self.model.num_asked], *step.messages] or self.model.script
        caller = TokenOwner(name=role, role=role)
        if step.num_intervals:
            # The loop only suggests: what it does of itself is nothing that goes out.
            self.operations.turn()
        with contextlib.suppress(AgentError, TelemetrySimError, RequestRefused):
            document = self.conversations.answer(
                caller,
                step.line or "go on",
                "fuzz",
                is_read_only=is_read_only,
                hear=lambda _kind, _document: None,
            )
            for row in document["pending"]:
                self._word(step.person, row, caller, is_read_only=is_read_only)
        return self.witness.faults(self.room, before)

    def _word(self, person: str, row: dict[str, Any], caller: TokenOwner, *, is_read_only: bool) -> None:
        """The caller's yes or no, tried out by strangers and with other bindings before and again after it."""
        stranger = TokenOwner(name="stranger", role="approver")
        self._confirm(stranger, row["id"], row["binding"])
        self._confirm(caller, secrets.token_hex(8), row["binding"])
        if person in ("nobody", "interrupt"):
            return
        if person == "yes" and not is_read_only and self._may(row["tool"], caller):
            self.witness.agreed.append(_pending(row))
        self._confirm(caller, row["id"], row["binding"], is_agreed=person == "yes")
        self._confirm(caller, row["id"], row["binding"])

    def _confirm(self, caller: TokenOwner, pending_id: str, binding: str, *, is_agreed: bool = True) -> None:
        with contextlib.suppress(AgentError, TelemetrySimError, RequestRefused):
            self.conversations.confirm(caller, pending_id, binding, is_agreed=is_agreed)
            self.num_confirmed += 1

    @staticmethod
    def _may(tool: str, caller: TokenOwner) -> bool:
        """What the route of the same name asks for, written down a second time."""
        return caller.role == "approver" or (caller.role == "operator" and tool not in _PLAN_TOOLS)


def _pending(row: dict[str, Any]) -> Pending:
    return Pending(tool=row["tool"], arguments=row["arguments"], summary=row["summary"], resolved=row["resolved"])

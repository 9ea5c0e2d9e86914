"""A conversation: requests in, answers with their evidence out, changes only after a yes, kept in the store."""

from __future__ import annotations

import contextlib
import contextvars
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.chat.answer import Answer, Pending, clean_request
from agent.chat.chat_agent import build_agent
from agent.chat.heard import asked_back, named_by_five_qi
from agent.control_room import goal_document
from agent.errors import AgentError, ModelAway, StoreUnusable
from agent.store.sessions import load_session, save_session
from agent.tools.acting import STATE_CHANGING, resolve_goal, rollback_target
from agent.tools.finding import Finding
from agent.tools.goal_words import describe_goal
from agent.tools.reasoning import describe_policy, describe_rollback
from agent.tools.seen import latest_interval
from agent.tools.toolbox import Toolbox
from telemetry_sim.errors import TelemetrySimError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig

    from agent.control_room import ControlRoom
    from agent.store.store import Store

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THREAD = "chat"
_LIMIT_REACHED = "Model call limits exceeded"
"""How LangChain's own message begins."""
_STOPPED = "Stopped: the model kept calling tools instead of answering. What they found:"
_NO_FIGURES = "I have no figures for that; ask me for a status, an explanation or a what-if."
NOTHING_CHANGED = "nothing was changed"
_KEPT_MESSAGES = 200
"""Of a conversation."""
_MOST_CAUGHT_UP = 360
"""Intervals that a session taken up again lets the network run on; an hour of ten-second intervals."""


class ChatSession:
    """One thread of talk about one control room; `decide` is how a person is asked, None where nobody is there."""

    def __init__(
        self,
        room: ControlRoom,
        model: BaseChatModel,
        *,
        name: str = "chat",
        decide: Callable[[Pending], bool] | None = None,
        on_text: Callable[[str], None] = lambda _: None,
        on_call: Callable[[str, dict[str, Any]], None] = lambda _name, _arguments: None,
        on_pending: Callable[[Pending], None] = lambda _: None,
        store: Store | None = None,
        is_kept: bool = True,
        is_named: bool = False,
        view: Callable[[str], Finding] | None = None,
    ) -> None:
        self.room = room
        self.view = view
        """Shows a server's own documents, where there is a server."""
        self._store = store or room.store
        self._is_kept = is_kept
        self.name = name
        self.is_named = is_named
        """Whether it can be taken up again by its name, when this process has ended."""
        self.toolbox = Toolbox(room)
        self.decide = decide
        self.on_text = on_text
        self.on_call = on_call
        self.on_pending = on_pending
        """Told of each change that nobody said yes to."""
        self.num_tokens = [0, 0]
        self.unanswered: list[Pending] = []
        """Changes of the latest request that nobody has said yes to."""
        self._changed: list[str] = []
        """What the latest request changed past the toolbox of now."""
        self._thread = 0
        self.change_model(model)
        self._take_up()

    @property
    def messages(self) -> list[BaseMessage]:
        return list(self._agent.get_state(self._config()).values.get("messages", []))

    def change_model(self, model: BaseChatModel) -> None:
        """Another language model; the conversation goes on."""
        messages = self.messages if hasattr(self, "_agent") else []
        self.model = model
        self._agent = build_agent(model, self.toolbox)
        if messages:
            self._agent.update_state(self._config(), {"messages": messages})

    def take_over(self, other: ChatSession) -> None:
        """Go on with what was said in another session."""
        self.num_tokens = list(other.num_tokens)
        self._restore(other.messages)

    def ask(self, text: str) -> Answer:
        """Answer a request; raises AgentInputInvalid for what can't be one, ModelAway where the model fails.

        A KeyboardInterrupt tells what had been changed before it, or may have been.
        """
        from langchain_core.messages import HumanMessage
        from langgraph.types import Command

        request = clean_request(text)
        self.room.refresh()
        self.start_request()
        answer = Answer(text=asked_back(request, self.room.topology))
        if answer.text:
            return answer
        request = named_by_five_qi(request, self.room.topology)
        began, before = time.monotonic(), self.messages
        given: Any = {"messages": [HumanMessage(request)]}
        try:
            while given is not None:
                waiting = self._run(given, answer, began)
                given = None if waiting is None else Command(resume={"decisions": self._decisions(waiting)})
        except KeyboardInterrupt as stop:
            told = self._leave_toolbox()
            self._restore(before)
            raise KeyboardInterrupt(*told) from stop
        except (AgentError, TelemetrySimError):
            self._restore(before)
            raise
        except Exception as error:  # a chat model's client raises types of its own
            self._restore(before)
            why = f"{type(error).__name__}: {str(error)[:300].rstrip('.')}"
            raise ModelAway(f"the chat model failed: {why}; `/model embedded` goes on without it") from error
        self._settle(answer, request)
        answer.elapsed_s = time.monotonic() - began
        return answer

    def start_request(self) -> None:
        """Forget what the request before found and asked."""
        self.toolbox.found.clear()
        self.unanswered.clear()
        self._changed.clear()

    def told_changes(self) -> list[str]:
        """What the latest request changed, or may have changed."""
        return [*self._changed, *self.toolbox.told_changes] or [NOTHING_CHANGED]

    def run_tool(self, name: str, arguments: dict[str, Any]) -> Finding:
        """A tool by its name, past the language model; a change still needs a person's yes."""
        if name in STATE_CHANGING:
            finding = self._ask_person(name, arguments)
            if finding is not None:
                return finding
        finding = self._call_to_its_end(name, arguments)
        trouble = self._save()
        return replace(finding, text=f"{finding.text}\n{trouble}") if trouble else finding

    def _call_to_its_end(self, name: str, arguments: dict[str, Any]) -> Finding:
        """A change is made on another thread, so that Ctrl-C never leaves it half made; at Ctrl-C its end is told."""
        if name not in STATE_CHANGING:
            return self.toolbox.call(name, arguments)
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="change")
        try:
            return pool.submit(contextvars.copy_context().run, self.toolbox.call, name, arguments).result()
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(*self._leave_toolbox()) from stop
        finally:
            pool.shutdown(wait=False)

    def _config(self) -> RunnableConfig:
        return {"configurable": {"thread_id": f"{_THREAD}-{self._thread}"}, "recursion_limit": 300}

    def _run(self, given: Any, answer: Answer, began: float) -> list[dict[str, Any]] | None:
        """Let the agent go on until it answers (None) or asks for a person (the calls it asks about)."""
        from langchain_core.messages import AIMessage, AIMessageChunk

        from agent.chat.agent_run import AgentRun

        run, waiting = AgentRun(), None
        config: RunnableConfig = {**self._config(), "callbacks": [run]}
        event: Any
        try:
            for mode, event in run.events(
                lambda: self._agent.stream(given, config, stream_mode=["messages", "updates"])
            ):
                if mode == "messages":
                    chunk, about = event
                    if isinstance(chunk, AIMessageChunk) and chunk.text and about["langgraph_node"] == "model":
                        answer.first_token_s = answer.first_token_s or time.monotonic() - began
                        self.on_text(str(chunk.text))
                elif "__interrupt__" in event:
                    waiting = list(event["__interrupt__"][0].value["action_requests"])
                else:
                    for message in ((event.get("model") or {}).get("messages")) or []:
                        if isinstance(message, AIMessage):
                            self._note_calls(message, answer)
        except KeyboardInterrupt:
            run.leave()
            raise
        return waiting

    def _note_calls(self, message: AIMessage, answer: Answer) -> None:
        if message.usage_metadata is not None:
            answer.num_input_tokens += message.usage_metadata["input_tokens"]
            answer.num_output_tokens += message.usage_metadata["output_tokens"]
        for call in message.tool_calls:
            self.on_call(call["name"], call["args"])

    def _leave_toolbox(self) -> list[str]:
        """A toolbox and an agent anew, the run that was left having none any more; what it changed."""
        # Ctrl-C again: whoever is in that hurry waits for no change's end.
        with contextlib.suppress(KeyboardInterrupt):
            self.toolbox.close()
        self._changed = self.told_changes()
        self.toolbox = Toolbox(self.room)
        self._agent = build_agent(self.model, self.toolbox)
        return list(self._changed)

    def _decisions(self, waiting: list[dict[str, Any]]) -> list[dict[str, str]]:
        decisions: list[dict[str, str]] = []
        for request in waiting:
            finding = self._ask_person(request["name"], request["args"])
            if finding is None:
                decisions.append({"type": "approve"})
            else:
                self.toolbox.note(request["name"], request["args"], finding)
                decisions.append({"type": "respond", "message": finding.to_json()})
        return decisions

    def _ask_person(self, tool: str, arguments: dict[str, Any]) -> Finding | None:
        """None where a person, or an approval of this very plan, lets the call through; else what to say instead."""
        if self.room.is_read_only:
            return Finding(text="Not done: this session is read-only.", exit_status=4)
        try:
            pending = self.resolve(tool, arguments)
            is_covered = tool == "apply_plan" and self.room.has_approval(self.room.find(arguments.get("version")))
        except (AgentError, TelemetrySimError, TypeError, ValueError) as error:
            return Finding(text=f"Not done: {error}.", data={"error": str(error)}, exit_status=2)
        refusal = self.room.changes.refusal(tool, is_approved=is_covered)
        if refusal:
            return Finding(text=f"Not done: {refusal}.", data=pending.resolved, exit_status=4)
        if not is_covered and (self.decide is None or not self.decide(pending)):
            self.unanswered.append(pending)
            self.on_pending(pending)
            said = "needs your approval" if self.decide is None else "not approved"
            return Finding(text=f"Nothing changed ({said}): {pending.summary}.", data=pending.resolved, exit_status=5)
        try:
            if tool == "apply_plan" and not is_covered:
                latest_interval(self.room)  # an approval is judged by the network's time, which nobody tells now
                policy = self.room.find(arguments.get("version"))
                self._changed.append(f"version {policy.version} may have been approved")
                self.room.approve(policy, approver=self.room.changes.approver, reason="approved at the prompt")
                self._changed[-1] = f"version {policy.version} is approved"
        except AgentError as error:
            return Finding(text=f"Not done: {error}.", data={"error": str(error)}, exit_status=error.exit_status)
        self.room.confirm(tool, arguments)
        return None

    def resolve(self, tool: str, arguments: dict[str, Any]) -> Pending:
        """What a change comes to; raises AgentError where it can't be."""
        summary, resolved = tool.replace("_", " "), dict[str, object]()
        if tool in ("approve_plan", "reject_plan", "apply_plan"):
            policy = self.room.find(arguments.get("version"))
            resolved = describe_policy(self.room, policy)
            summary = f"{summary}, version {policy.version}"
        elif tool == "clear_goals":
            resolved = {"removes": [describe_goal(self.room.topology, goal) for goal in self.room.changes.own_goals()]}
        elif tool == "roll_back":
            target = rollback_target(self.room, arguments.get("version"))
            resolved = describe_rollback(self.room, target)
            summary = f"roll back to version {target}"
        elif tool == "set_goal":
            goal = resolve_goal(self.room, **arguments)
            known = [describe_goal(self.room.topology, kept) for kept in self.room.goals() if kept.id == goal.id]
            resolved = {
                "goal": goal_document(goal),
                "means": describe_goal(self.room.topology, goal),
                "replaces": known,
            }
            summary = f"set goal: {describe_goal(self.room.topology, goal)}"
        return Pending(tool=tool, arguments=dict(arguments), summary=summary, resolved=resolved)

    def _settle(self, answer: Answer, request: str) -> None:
        """Take the last words, hold their numbers to what the tools found, and keep the conversation."""
        from agent.models.chat_model import REFUSED

        answer.calls = [self.as_call(*made) for made in self.toolbox.found]
        answer.pending = list(self.unanswered)
        last = self.messages[-1] if self.messages else None
        answer.text = str(last.text) if last is not None and last.type == "ai" else ""
        evidence = request + " ".join(f.to_json() for _, _, f in self.toolbox.found) + self._standing()
        if answer.text.startswith(_LIMIT_REACHED):
            answer.text = "\n\n".join([_STOPPED, *self._found_texts()])
        elif unsupported_numbers(answer.text, evidence):
            answer.text = "\n\n".join(self._found_texts()) or _NO_FIGURES
        is_refused = last is not None and bool(last.response_metadata.get(REFUSED))
        statuses = [f.exit_status for _, _, f in self.toolbox.found]
        answer.exit_status = max([*statuses, 4 if is_refused else 0])
        self.num_tokens[0] += answer.num_input_tokens
        self.num_tokens[1] += answer.num_output_tokens
        self._shorten()
        trouble = self._save()
        if trouble:
            answer.text = f"{answer.text}\n{trouble}"

    @staticmethod
    def as_call(name: str, arguments: dict[str, Any], finding: Finding) -> dict[str, Any]:
        """A call and its result as plain values."""
        result = {"text": finding.text, "data": finding.data, "status": finding.exit_status}
        return {"tool": name, "arguments": arguments, "result": result}

    def _found_texts(self) -> list[str]:
        return list(dict.fromkeys(finding.text for _, _, finding in self.toolbox.found))

    def _standing(self) -> str:
        """Numbers that need no tool: examples in our questions, and the names of what there is."""
        topology = self.room.topology
        known = [*(str(site.id) for site in topology.cells[:100]), *(profile.name for profile in topology.slices)]
        return f" 2 10 20 {' '.join(known)} "

    def _restore(self, messages: list[BaseMessage]) -> None:
        """Back to the conversation before a request that failed, on a fresh thread."""
        self._thread += 1
        if messages:
            self._agent.update_state(self._config(), {"messages": messages})

    def _shorten(self) -> None:
        """Only the latest messages, from a request on, and one state of them: a talk may last for months."""
        messages, before = self.messages, self._config()
        latest = messages[-_KEPT_MESSAGES:]
        first = next((i for i, message in enumerate(latest) if message.type == "human"), 0)
        self._restore(latest[first:])
        from langgraph.checkpoint.memory import InMemorySaver

        saver = self._agent.checkpointer
        if isinstance(saver, InMemorySaver):
            saver.delete_thread(before["configurable"]["thread_id"])

    def _take_up(self) -> None:
        from langchain_core.messages import messages_from_dict

        if not self._is_kept:
            return
        kept = self._store.read(lambda connection: load_session(connection, self.name))
        if kept is not None and isinstance(kept.get("messages"), list):
            self._restore(messages_from_dict(kept["messages"]))  # type: ignore[arg-type]  # as written by _save
            behind = int(str(kept.get("num_observed", 0))) - self.room.num_observed
            self.room.observe(max(0, min(behind, _MOST_CAUGHT_UP)))

    def _save(self) -> str:
        """Why the conversation could not be kept, else nothing: what was done in it is told all the same."""
        from langchain_core.messages import messages_to_dict

        if not self._is_kept:
            return ""
        document = {"messages": messages_to_dict(self.messages), "num_observed": self.room.num_observed}
        plain = json.loads(json.dumps(document, default=str))
        try:
            self._store.write(lambda transaction: save_session(transaction, self.name, plain))
        except StoreUnusable as error:
            return f"This conversation could not be kept: {error}."
        return ""


def unsupported_numbers(text: str, evidence: str) -> list[str]:
    """Numbers in the text that the evidence does not hold."""
    known = {float(number) for number in _NUMBER.findall(evidence)}
    return [number for number in _NUMBER.findall(text) if float(number) not in known]

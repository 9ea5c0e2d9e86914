"""The embedded chat model: a trained small model reads the operator, the tools' own texts are the answer."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, PrivateAttr

from agent.models.left_over import is_in_digits, left_over, question_about
from agent.models.operator_hearing import Heard, hear
from agent.models.operator_language import AT_A_CELL, Call, call
from agent.models.operator_model import OperatorModel, Reading, load_operator_model
from agent.models.operator_quantities import Quantity

if TYPE_CHECKING:
    from telemetry_sim.topology import Topology

EMBEDDED_OPERATOR = Path(__file__).parent.parent / "weights" / "operator"

_WORD = re.compile(r"\S+\s*")
_ORDER = re.compile(r"(explain|describe|write|apply|approve|reject|propose|compare)\b[\s._-]*", re.IGNORECASE)
"""How a request begins; a slice whose name or alias begins so would be heard in every one of them."""
_QUESTIONS = {
    "cell": "Which cell do you mean? Name its number, for instance: how is cell 2 doing?",
    "slice": "Which slice do you mean? {slices}.",
    "value": "Which value do you mean? Say it with its unit, for instance 10 ms or 20 Mb/s.",
    "number": "I can't place {number} in that. Cells are {cells}; slices are {slices}.",
    "unit": "I can't place {number} in that. I take ms for a delay, Mb/s for a rate, % or times for a change.",
    "second": "I take one delay or rate at a time, and {number} is left over; nothing was done. Say the first alone, "
    "for instance `keep {slice} within 20 ms`, and then the other.",
    "goal": "No goal says that, so nothing was changed. I take a delay to stay within ({slice} within 20 ms), a share "
    "in time to reach (95 % of {slice} in time), a rate to stay below (cap {slice} at 20 Mb/s), who goes first or "
    "last, and saving energy; `clear the goals` takes all of them away.",
    "request": "I'm not sure what you want. Ask for a status, a plan, an explanation or a what-if; `help` lists more.",
}
_DECLINED = (
    "I can't do that. I look after this network: status, explanations, what-ifs, plans, approvals, goals and rollbacks."
)
_HELP = (
    "Ask in your own words: how a cell or slice is doing, which is worst and why, what changed, what would happen if a "
    "cell failed or demand grew, which planner does best.\nSay what you want: keep a slice below a delay, cap or "
    "prefer a slice, save energy. Then ask for a plan, look at its diff, approve and apply it, or roll back.\nNothing "
    "changes without your yes. Slash commands: /help."
)
REFUSED = "is_refused"
"""Response metadata of an answer to a request for a change where none can be made."""
_NOT_HERE = "That isn't possible here: the session is read-only."


class EmbeddedChatModel(BaseChatModel):
    """Offline, deterministic; calls one tool after another and answers with what they found."""

    model_config = ConfigDict(extra="ignore")

    folder: str = str(EMBEDDED_OPERATOR)
    """Weights and tokenizer."""
    cells: tuple[int, ...] = ()
    slices: tuple[str, ...] = ()
    """The running network's, in its order."""
    aliases: tuple[tuple[str, ...], ...] = ()
    """What else the network calls each of its slices."""
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    _operator: OperatorModel | None = PrivateAttr(default=None)
    _last: tuple[tuple[object, ...], Reading] | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "edgewright-embedded"

    @property
    def model_name(self) -> str:
        return "embedded"

    @classmethod
    def of(cls, topology: Topology) -> Self:
        """The model for a network: its cells and its slices with their aliases."""
        return cls(
            cells=tuple(site.id for site in topology.cells),
            slices=tuple(profile.name for profile in topology.slices),
            aliases=tuple(profile.aliases for profile in topology.slices),
        )

    def load(self) -> OperatorModel:
        """The operator model, read on first use; raises ModelUnavailable."""
        if self._operator is None:
            self._operator = load_operator_model(Path(self.folder))
        return self._operator

    def sibling(self) -> EmbeddedChatModel:
        """Another for the same network, for a conversation of its own; the weights are read once."""
        other = EmbeddedChatModel(folder=self.folder, cells=self.cells, slices=self.slices, aliases=self.aliases)
        other._operator = self.load()
        return other

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Only bound tools are ever called."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="edgewright",
            ls_model_name=str(kwargs.get("model", self.model_name)),
            ls_model_type="chat",
            ls_temperature=self.temperature,
            ls_max_tokens=self.max_tokens,
            ls_stop=stop or self.stop,
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager
        return ChatResult(generations=[ChatGeneration(message=self._next(messages, _bound(kwargs)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        del stop
        message = self._next(messages, _bound(kwargs))
        for piece in _WORD.findall(str(message.content)):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece, id=message.id))
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk
        chunks = [
            {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i, "type": "tool_call_chunk"}
            for i, c in enumerate(message.tool_calls)
        ]
        last = AIMessageChunk(
            content="",
            tool_call_chunks=chunks,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            id=message.id,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)

    def _next(self, messages: Sequence[BaseMessage], tools: frozenset[str]) -> AIMessage:
        """The next call, or the answer once every call has been made."""
        asked = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=-1)
        if asked < 0:
            return self._answer(_QUESTIONS["request"], None)
        text = str(messages[asked].text)
        reading = self._read(messages[: asked + 1])
        heard = hear(text, cells=self.cells, **self._names())
        reading = replace(reading, calls=self._with_every_cell(reading.calls, heard))
        place = left_over(reading.calls, heard)
        if place is not None:
            return self._answer(self._question(question_about(place, heard), number=heard.said[place]), reading)
        made = sum(len(m.tool_calls) for m in messages[asked + 1 :] if isinstance(m, AIMessage))
        steps = [self._step(call, tools) for call in reading.calls]
        pending = [step for step in steps if not isinstance(step, str)]
        if made < len(pending):
            return _calling(pending[made], reading)
        results = iter([m for m in messages[asked + 1 :] if isinstance(m, ToolMessage)])
        parts = [step if isinstance(step, str) else _text_of(next(results, None)) for step in steps]
        return self._answer("\n\n".join(dict.fromkeys(parts)), reading, is_refused=_NOT_HERE in steps)

    def _read(self, messages: Sequence[BaseMessage]) -> Reading:
        focus = _focus(messages)
        text = str(messages[-1].text)
        named = focus.get("slice")
        slice_number = self.slices.index(named) + 1 if named in self.slices else None
        key = (text, focus.get("cell"), slice_number, focus.get("plan"), self.cells, self.slices, self.aliases)
        if self._last is None or self._last[0] != key:
            reading = self.load().read(
                text,
                cells=self.cells,
                **self._names(),
                cell=focus.get("cell"),
                slice_number=slice_number,
                plan=focus.get("plan"),
            )
            self._last = (key, reading)
        return self._last[1]

    def _names(self) -> dict[str, Any]:
        """Slices and aliases as they are listened for."""
        return {
            "slices": tuple(_ORDER.sub("", name, count=1) or "x" for name in self.slices) or ("all",),
            "aliases": tuple(tuple(_ORDER.sub("", alias, count=1) for alias in each) for each in self.aliases),
        }

    def _step(self, call: Call, tools: frozenset[str]) -> tuple[str, dict[str, Any]] | str:
        """A tool call, or what is said instead."""
        given = {name: value for name, value in call.arguments if value is not None}
        if call.tool == "decline":
            return _DECLINED
        if call.tool == "help":
            return _HELP
        if call.tool == "ask":
            return self._question(str(given["about"]))
        if call.tool not in tools:
            return _NOT_HERE
        missing = _missing(call.tool, given)
        if missing:
            return self._question(missing)
        for name in ("slice", "yields"):
            if name in given:
                given[name] = self.slices[int(given[name]) - 1]
        return call.tool, given

    def _with_every_cell(self, calls: Sequence[Call], heard: Heard) -> tuple[Call, ...]:
        """A look at one of several cells that were named is a look at each of them."""
        if set(heard.quantities) - {Quantity.PLAIN, Quantity.CELL}:
            return tuple(calls)
        said = [number for place, number in enumerate(heard.numbers) if is_in_digits(heard, place)]
        looks = [call for call in calls if call.tool in AT_A_CELL and dict(call.arguments).get("cell") in said]
        if len(calls) != 1 or not looks or not set(said) <= set(self.cells):
            return tuple(calls)
        given = [(name, value) for name, value in looks[0].arguments if name != "cell"]
        return tuple(call(looks[0].tool, dict(given) | {"cell": int(cell)}) for cell in dict.fromkeys(said))

    def _question(self, about: str, *, number: str = "") -> str:
        cells = ", ".join(map(str, self.cells[:20]))
        slices = ", ".join(self.slices)
        return _QUESTIONS[about].format(slices=slices, slice=slices.split(",")[0], cells=cells, number=number)

    @staticmethod
    def _answer(text: str, reading: Reading | None, *, is_refused: bool = False) -> AIMessage:
        return AIMessage(
            content=text,
            id=_new_id(),
            usage_metadata=_usage(reading, len(_WORD.findall(text))),
            response_metadata={REFUSED: True} if is_refused else {},
        )


def _calling(step: tuple[str, dict[str, Any]], reading: Reading) -> AIMessage:
    tool, arguments = step
    call = {"name": tool, "args": arguments, "id": f"call-{uuid.uuid4().hex[:12]}", "type": "tool_call"}
    return AIMessage(content="", id=_new_id(), tool_calls=[call], usage_metadata=_usage(reading, reading.num_tokens))


def _missing(tool: str, given: dict[str, Any]) -> str:
    """What to ask back, because the goal can't be set without it or contradicts itself."""
    if tool == "set_goal" and given["metric"] != "energy":
        if "slice" not in given or given["slice"] == given.get("yields"):
            return "slice"
        if "value" not in given and not str(given["metric"]).startswith("priority"):
            return "value"
    return ""


def _focus(messages: Sequence[BaseMessage]) -> dict[str, Any]:
    """What the tools last spoke of."""
    focus: dict[str, Any] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            found = _document(message).get("focus")
            if isinstance(found, dict):
                focus |= found
    return focus


def _text_of(message: ToolMessage | None) -> str:
    if message is None:
        return _NOT_HERE
    text = _document(message).get("text")
    return text if isinstance(text, str) else str(message.text)


def _document(message: ToolMessage) -> dict[str, Any]:
    try:
        document = json.loads(str(message.text))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _bound(kwargs: dict[str, Any]) -> frozenset[str]:
    return frozenset(tool["function"]["name"] for tool in kwargs.get("tools") or ())


def _usage(reading: Reading | None, num_output: int) -> UsageMetadata:
    num_input = 0 if reading is None else reading.num_prompt_tokens
    return UsageMetadata(input_tokens=num_input, output_tokens=num_output, total_tokens=num_input + num_output)


def _new_id() -> str:
    return f"run-{uuid.uuid4()}"

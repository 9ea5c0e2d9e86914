"""Any Hugging Face chat model of a folder, calling tools through its own chat template."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from agent.errors import ModelUnavailable

_OPENING = "<tool_call>"
_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class FolderChatModel(BaseChatModel):
    """Greedy, bounded and streaming; reads Qwen- and Hermes-style `<tool_call>` blocks."""

    folder: str
    max_new_tokens: int = 256
    _loaded: tuple[Any, Any] | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "edgewright-folder"

    @property
    def model_name(self) -> str:
        return self.folder

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        model, tokenizer = self._load()
        inputs = tokenizer.apply_chat_template(
            convert_to_openai_messages(messages),
            tools=kwargs.get("tools") or None,
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made_id, text, num_said = f"run-{uuid.uuid4()}", "", 0
        for piece in _generated(model, tokenizer, inputs, self.max_new_tokens):
            text, is_stopped = _up_to(text + piece, stop or ())
            said = text[num_said : _num_plain(text)]
            num_said += len(said)
            if said:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=said, id=made_id))
                if run_manager is not None:
                    run_manager.on_llm_new_token(said, chunk=chunk)
                yield chunk
            if is_stopped:
                break
        calls = read_tool_calls(text).tool_calls
        num_input, num_output = int(inputs["input_ids"].shape[1]), len(tokenizer.encode(text, add_special_tokens=False))
        usage = UsageMetadata(input_tokens=num_input, output_tokens=num_output, total_tokens=num_input + num_output)
        last = AIMessageChunk(
            # A block that is no call stays text.
            content="" if calls else text[num_said:],
            tool_call_chunks=[
                tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"], index=at)
                for at, c in enumerate(calls)
            ],
            usage_metadata=usage,
            id=made_id,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            torch.set_num_threads(1)
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.folder)
                model = AutoModelForCausalLM.from_pretrained(self.folder, use_safetensors=True).eval()
            except Exception as error:  # transformers raises a dozen unrelated types for damaged files
                raise ModelUnavailable(f"chat model {self.folder!r}: {str(error)[:300]}") from error
            if tokenizer.chat_template is None:
                raise ModelUnavailable(f"chat model {self.folder!r}: its tokenizer has no chat template")
            self._loaded = (model, tokenizer)
        return self._loaded


def _generated(model: Any, tokenizer: Any, inputs: Any, max_new_tokens: int) -> Iterator[str]:
    """The text as it is made; the model stops where nobody reads on."""
    from transformers import StoppingCriteriaList, TextIteratorStreamer

    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    is_left, failures = threading.Event(), list[Exception]()

    def work() -> None:
        try:
            model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                streamer=streamer,
                stopping_criteria=StoppingCriteriaList([lambda _ids, _scores, **_: is_left.is_set()]),
            )
        except Exception as error:  # noqa: BLE001 - raised again where the text is read
            failures.append(error)
            streamer.end()

    threading.Thread(target=work, name="generate", daemon=True).start()
    try:
        yield from streamer
    finally:
        is_left.set()
    if failures:
        raise failures[0]


def _num_plain(text: str) -> int:
    """Characters that are surely no tool call: what may begin one is held back."""
    begins = text.find(_OPENING)
    if begins >= 0:
        return begins
    return next((len(text) - n for n in range(len(_OPENING) - 1, 0, -1) if text.endswith(_OPENING[:n])), len(text))


def _up_to(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop word, and whether there was one."""
    places = [text.find(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)


def read_tool_calls(text: str) -> AIMessage:
    """The message that a model's text amounts to; a block that is no call stays text."""
    calls: list[ToolCall] = []
    for block in _CALL.findall(text):
        try:
            document = json.loads(block)
            arguments = document.get("arguments") or {}
            call_id = f"call-{uuid.uuid4().hex[:12]}"
            calls.append(ToolCall(name=str(document["name"]), args=dict(arguments), id=call_id, type="tool_call"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return AIMessage(content=_CALL.sub("", text).strip() if calls else text.strip(), tool_calls=calls)

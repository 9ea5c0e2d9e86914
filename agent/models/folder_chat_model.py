"""Any Hugging Face chat model of a folder, calling tools through its own chat template."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from agent.errors import ModelUnavailable

_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)


class FolderChatModel(BaseChatModel):
    """Greedy and bounded; reads Qwen- and Hermes-style `<tool_call>` blocks."""

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
        del stop, run_manager
        model, tokenizer = self._load()
        inputs = tokenizer.apply_chat_template(
            convert_to_openai_messages(messages),
            tools=kwargs.get("tools") or None,
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        text = tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return ChatResult(generations=[ChatGeneration(message=read_tool_calls(text))])

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

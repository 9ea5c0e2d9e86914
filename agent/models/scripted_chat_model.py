"""A chat model that says what it was told to say: for tests of everything around a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool


class ScriptedChatModel(BaseChatModel):
    """Gives its messages one after another; the last for ever."""

    script: list[AIMessage]
    num_asked: int = 0

    @property
    def _llm_type(self) -> str:
        return "edgewright-scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        del tools, tool_choice, kwargs
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del messages, stop, run_manager, kwargs
        index = min(self.num_asked, len(self.script) - 1)
        self.num_asked += 1
        message = self.script[index].model_copy(update={"id": f"scripted-{self.num_asked}"})
        if message.tool_calls:
            calls = [{**c, "id": f"{c['id']}-{self.num_asked}"} for c in message.tool_calls]
            message = message.model_copy(update={"tool_calls": calls})
        return ChatResult(generations=[ChatGeneration(message=message)])

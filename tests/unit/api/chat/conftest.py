"""A server whose chat model says what it is told to."""

from tests.api_stage import clock
from tests.chat_stage import chat, stage

__all__ = ["chat", "clock", "stage"]

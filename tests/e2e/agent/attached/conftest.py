"""A server to attach to, whose chat model says what it is told to."""

from tests.chat_stage import chat, stage

__all__ = ["chat", "stage"]

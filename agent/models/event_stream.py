"""Reads a server's answer: a stream of events or one JSON body, no longer than allowed.

Source of the form: WHATWG HTML, 9.2.6 (server-sent events), and OpenAI's chat completion chunks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from agent.errors import ModelUnavailable
from agent.models.port import Answer

_MAX_BYTES = 1_000_000
"""Of everything, keep-alive comments included."""
_MAX_TEXT = 16_000
_MAX_TOLD = 200
_DONE = "[DONE]"


def read_answer(response: httpx.Response, *, due_s: float, clock: Callable[[], float]) -> Answer:
    """The answer's text; raises ModelUnavailable for a refusal, an endless stream or a late one."""
    chunks = _bounded(response, due_s, clock)
    if response.status_code != httpx.codes.OK:
        told = _first_bytes(chunks).decode("utf-8", "replace")
        raise ModelUnavailable(f"status {response.status_code}: {' '.join(told.split())[:_MAX_TOLD]!r}")
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return _from_events(chunks)
    return _from_body(b"".join(chunks))


def _bounded(response: httpx.Response, due_s: float, clock: Callable[[], float]) -> Iterator[bytes]:
    num_bytes = 0
    for chunk in response.iter_bytes():
        num_bytes += len(chunk)
        if num_bytes > _MAX_BYTES:
            raise ModelUnavailable(f"the answer exceeds {_MAX_BYTES} bytes")
        if clock() > due_s:
            raise ModelUnavailable("the answer did not end in time")
        yield chunk


def _first_bytes(chunks: Iterator[bytes]) -> bytes:
    found = b""
    for chunk in chunks:
        found += chunk
        if len(found) > _MAX_TOLD:
            break
    return found


def _from_events(chunks: Iterator[bytes]) -> Answer:
    parts: list[str] = []
    length, num_tokens = 0, 0
    for data in _event_data(chunks):
        if data == _DONE:
            break
        event = _json(data)
        part = _content(event, "delta")
        if part:
            parts.append(part)
            length += len(part)
        num_tokens = _completion_tokens(event) or len(parts)
        if length > _MAX_TEXT:
            raise ModelUnavailable(f"the answer exceeds {_MAX_TEXT} characters")
    return Answer(text="".join(parts).strip(), num_tokens=num_tokens, num_sampled=num_tokens)


def _event_data(chunks: Iterator[bytes]) -> Iterator[str]:
    """The data lines; comments and other fields are passed over."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode("utf-8", "replace").strip()
    if rest.startswith(b"data:"):
        yield rest[5:].decode("utf-8", "replace").strip()


def _from_body(body: bytes) -> Answer:
    """A server that does not stream, or a plain document such as the list of models."""
    text = body.decode("utf-8", "replace")
    document = _json(text)
    if "choices" not in document:
        return Answer(text=text, num_tokens=0, num_sampled=0)
    content = _content(document, "message")[:_MAX_TEXT]
    num_tokens = _completion_tokens(document)
    return Answer(text=content.strip(), num_tokens=num_tokens, num_sampled=num_tokens)


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"expected JSON, got {text[:_MAX_TOLD]!r}") from error
    if not isinstance(document, dict):
        raise ModelUnavailable(f"expected a JSON object, got {text[:_MAX_TOLD]!r}")
    if "error" in document:
        raise ModelUnavailable(f"the server says {str(document['error'])[:_MAX_TOLD]!r}")
    return document


def _content(document: dict[str, Any], key: str) -> str:
    """choices[0].<key>.content; empty where it is missing."""
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get(key) if isinstance(first, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def _completion_tokens(document: dict[str, Any]) -> int:
    usage = document.get("usage")
    number = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return number if isinstance(number, int) and number > 0 else 0

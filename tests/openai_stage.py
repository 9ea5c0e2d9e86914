"""A small OpenAI-compatible server on loopback whose words are scripted; it is as strict about history as real ones."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from langchain_core.messages import AIMessage


class ScriptedServer:
    """Answers each request with the next message; `dies_after` cuts a stream off after so many events."""

    def __init__(self) -> None:
        self.script: deque[AIMessage] = deque()
        self.requests: list[dict[str, Any]] = []
        self.dies_after: int | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.requests.append(body)
                fault = _fault(body)
                if fault:
                    self._send(400, json.dumps({"error": {"message": fault}}).encode(), "application/json")
                    return
                events = [f"data: {json.dumps(event)}\n\n".encode() for event in _events(server.script.popleft())]
                events.append(b"data: [DONE]\n\n")
                if server.dies_after is not None:
                    events = events[: server.dies_after]
                    self._send(200, b"".join(events), "text/event-stream", missing=1000)
                    self.connection.close()
                    return
                self._send(200, b"".join(events), "text/event-stream")

            def _send(self, status: int, content: bytes, kind: str, *, missing: int = 0) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content) + missing))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                del args

        return Handler


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    """A running server on a free port."""
    server = ScriptedServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _fault(body: dict[str, Any]) -> str:
    """Why a real server would refuse: a call without its result, a result without its call, no streaming asked for."""
    open_calls: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return f"no call {message['tool_call_id']!r} precedes this result"
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            return f"calls {sorted(open_calls)} have no results"
        else:
            open_calls = {call["id"] for call in message.get("tool_calls") or ()}
    return "" if body.get("stream") and not open_calls else "expected a stream and complete calls"


def _events(message: AIMessage) -> Iterator[dict[str, Any]]:
    for word in str(message.content).split(" ") if message.content else ():
        yield _chunk({"content": word + " "})
    for index, call in enumerate(message.tool_calls):
        arguments = json.dumps(call["args"])
        function = {"name": call["name"], "arguments": ""}
        yield _chunk({"tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]})
        for start in range(0, len(arguments), 8):
            piece = {"arguments": arguments[start : start + 8]}
            yield _chunk({"tool_calls": [{"index": index, "function": piece}]})
    yield _chunk({}, "tool_calls" if message.tool_calls else "stop")


def _chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": reason}
    return {
        "id": "chunk",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
    }

"""A broker on loopback that answers with the reason codes that a test asks for, and delivers nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.dispatch.mqtt_packets import Splitter, read_publication

CONNECT, PUBLISH, SUBSCRIBE, PINGREQ = 1, 3, 8, 12


class RefusingBroker:
    """`codes` by topic, 0 where none is given: they may change at any time."""

    def __init__(self) -> None:
        self.port = 0
        self.codes: dict[str, int] = {}
        self.taken: dict[str, list[bytes]] = defaultdict(list)
        """Payloads by topic."""
        self._changed = asyncio.Event()

    async def takes(self, topic: str, payload: bytes) -> None:
        """Returns once it has taken such a message."""
        async with asyncio.timeout(20):
            while payload not in self.taken[topic]:
                self._changed.clear()
                await self._changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter = Splitter()
        try:
            while data := await reader.read(65_536):
                for first, body in splitter.feed(data):
                    writer.write(self._answer(first, body))
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, first: int, body: bytes) -> bytes:
        kind = first >> 4
        if kind == CONNECT:
            return bytes([0x20, 3, 0, 0, 0])
        if kind == PINGREQ:
            return bytes([0xD0, 0])
        if kind == SUBSCRIBE:
            codes = [self.codes.get(topic, 1) for topic in _filters(body)]
            return bytes([0x90, 3 + len(codes), *body[:2], 0, *codes])
        if kind == PUBLISH:
            topic, payload, packet_id = read_publication(first & 0x0F, body)
            code = self.codes.get(topic.decode(), 0)
            if code < 0x80:
                self.taken[topic.decode()].append(payload)
                self._changed.set()
            return bytes([0x40, 3, *packet_id.to_bytes(2), code])
        return b""


def _filters(body: bytes) -> list[str]:
    """Of a SUBSCRIBE without properties."""
    found, at = [], 3
    while at < len(body):
        length = int.from_bytes(body[at : at + 2])
        found.append(body[at + 2 : at + 2 + length].decode())
        at += 3 + length
    return found


@asynccontextmanager
async def refusing_broker() -> AsyncIterator[RefusingBroker]:
    made = RefusingBroker()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()

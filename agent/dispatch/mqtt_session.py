"""One connection to an MQTT 5 broker that publishes to thousands of topics at once.

A library's client costs about a millisecond of CPU a target, most of it in futures and locks for each message. Here a
whole fan-out is one future, and packets share writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agent.dispatch import mqtt_packets as packets
from agent.dispatch.mqtt_packets import Publication
from agent.errors import BrokerLost
from telemetry_sim.mqtt_target import BrokerAddress

LOG = logging.getLogger("edgewright.dispatch")
_TIMEOUT_S = 10.0
_MAX_IN_FLIGHT = 1000
OnMessage = Callable[[bytes, bytes], None]
"""Topic and payload."""


@dataclass(slots=True)
class _Batch:
    num_left: int
    done: asyncio.Future[None]
    refused: dict[bytes, str] = field(default_factory=dict)


class MqttSession(asyncio.Protocol):
    """Made by `open_session`; raises BrokerLost from whatever waits when the connection ends."""

    def __init__(self, on_message: OnMessage) -> None:
        self._on_message = on_message
        self._splitter = packets.Splitter()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Publication, _Batch]] = deque()
        self._in_flight: dict[int, tuple[Publication, _Batch]] = {}
        self._window = 1
        self._last_id = 0
        self._num_acknowledged = 0
        self._replies: list[bytes] = []
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._accepted: asyncio.Future[None] = loop.create_future()
        self._subscribed: asyncio.Future[None] | None = None
        self._filters: tuple[str, ...] = ()
        self._is_answering = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a stream protocol is given no other)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection ended: {exc or 'closed by the broker'}")

    def data_received(self, data: bytes) -> None:
        self._is_answering = True
        try:
            for first, body in self._splitter.feed(data):
                self._take(first, body)
        except (ValueError, IndexError) as error:
            self._end(f"the broker sent what is no MQTT 5: {error}")
            return
        self._pump()

    async def handshake(self, hello: bytes) -> None:
        """Say hello and wait to be let in; raises BrokerLost."""
        self._write(hello)
        await self._within(self._accepted)

    async def subscribe(self, *filters: str) -> None:
        """Raises BrokerLost, also where the broker refuses."""
        self._subscribed, self._filters = asyncio.get_running_loop().create_future(), filters
        self._write(packets.subscribe(self._next_id(), filters))
        await self._within(self._subscribed)

    async def publish(self, publications: Iterable[Publication]) -> dict[bytes, str]:
        """Send all, retained; once the broker has answered every one, the topics of those that it refused, and why.

        Raises BrokerLost, also where acknowledgements cease to come.
        """
        wanted = tuple(publications)
        if not wanted:
            return {}
        if self._ended.done():
            raise BrokerLost("the broker was lost")
        batch = _Batch(num_left=len(wanted), done=asyncio.get_running_loop().create_future())
        self._waiting.extend((publication, batch) for publication in wanted)
        self._pump()
        while not batch.done.done():
            seen = self._num_acknowledged
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIMEOUT_S):
                    await asyncio.shield(batch.done)
            if self._num_acknowledged == seen:
                self._end(f"no acknowledgement from the broker within {_TIMEOUT_S:g} s")
        batch.done.result()
        return batch.refused

    async def keep_alive(self, every_s: float) -> None:
        """Until the connection ends; a broker that stays silent for two rounds is given up. Raises BrokerLost."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await asyncio.shield(self._ended)
            if not self._is_answering:
                self._end(f"no word from the broker for {2 * every_s:g} s")
            if self._ended.done():
                self._ended.result()
            self._is_answering = False
            self._write(packets.PINGREQ)

    def close(self) -> None:
        """Say goodbye; what waits gets BrokerLost."""
        self._write(packets.DISCONNECT)
        if self._transport is not None:
            self._transport.close()
        self._end("the session was closed")

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == packets.PUBLISH:
            topic, payload, packet_id = packets.read_publication(first & 0x0F, body)
            self._on_message(topic, payload)
            if packet_id:
                self._replies.append(packets.puback(packet_id))
        elif kind == packets.PUBACK:
            self._acknowledged(*packets.read_acknowledgement(body))
        elif kind == packets.CONNACK:
            self._let_in(*packets.read_connack(body))
        elif kind == packets.SUBACK and self._subscribed is not None and not self._subscribed.done():
            self._settle(self._subscribed, self._fault_of(packets.read_subscription(body)))
        elif kind == packets.DISCONNECTED:
            self._end(f"the broker hung up with reason {body[0] if body else 0}")

    def _fault_of(self, reasons: tuple[int, ...]) -> str:
        """Which subscription was refused and why; empty where all were granted."""
        asked = zip(self._filters, reasons, strict=False)
        refused = [f"{topic}: {packets.told_reason(reason)}" for topic, reason in asked if reason >= 128]
        return f"the broker refused to send {'; '.join(refused)}" if refused else ""

    def _acknowledged(self, packet_id: int, reason: int) -> None:
        publication, batch = self._in_flight.pop(packet_id, (None, None))
        if publication is None or batch is None:
            return
        self._num_acknowledged += 1
        if reason >= 128:
            why = f"the broker refused to take it: {packets.told_reason(reason)}"
            batch.refused[publication.topic] = why
            LOG.warning("%s: %s", publication.topic.decode(), why)
        batch.num_left -= 1
        if batch.num_left == 0:
            self._settle(batch.done, "")

    def _let_in(self, reason: int, receive_maximum: int) -> None:
        self._window = min(receive_maximum, _MAX_IN_FLIGHT)
        if not self._accepted.done():
            self._settle(self._accepted, f"the broker refused us: {packets.told_reason(reason)}" if reason else "")

    def _pump(self) -> None:
        """Send acknowledgements, and as many publications as the broker takes at once, in one write."""
        out, self._replies = self._replies, []
        while self._waiting and len(self._in_flight) < self._window:
            publication, batch = self._waiting.popleft()
            packet_id = self._next_id()
            self._in_flight[packet_id] = publication, batch
            out.append(publication.packet(packet_id))
        if out:
            self._write(b"".join(out))

    def _next_id(self) -> int:
        """An id that is not in flight; there are far more than may be in flight."""
        while True:
            self._last_id = self._last_id % 65_535 + 1
            if self._last_id not in self._in_flight:
                return self._last_id

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _within(self, future: asyncio.Future[None]) -> None:
        if self._ended.done():
            self._ended.result()
        try:
            # Not wait_for, which swallows a cancellation that comes together with the result (Python 3.11).
            async with asyncio.timeout(_TIMEOUT_S):
                await future
        except TimeoutError as error:
            self._end(f"no answer from the broker within {_TIMEOUT_S:g} s")
            raise BrokerLost(f"no answer from the broker within {_TIMEOUT_S:g} s") from error

    def _settle(self, future: asyncio.Future[None], fault: str) -> None:
        if future.done():
            return
        if fault:
            future.set_exception(BrokerLost(fault))
            future.exception()  # noted as seen: nobody may be waiting
        else:
            future.set_result(None)

    def _end(self, why: str) -> None:
        if self._ended.done():
            return
        pending = [self._ended, self._accepted, *(batch.done for _, batch in self._waiting)]
        pending += [batch.done for _, batch in self._in_flight.values()]
        if self._subscribed is not None:
            pending.append(self._subscribed)
        for future in pending:
            self._settle(future, why)
        self._waiting.clear()
        self._in_flight.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()


async def open_session(broker: BrokerAddress, client_id: str, on_message: OnMessage) -> MqttSession:
    """Connected and let in; raises BrokerLost."""
    context = ssl.create_default_context() if broker.with_tls else None
    loop = asyncio.get_running_loop()
    connecting = loop.create_connection(lambda: MqttSession(on_message), broker.host, broker.port, ssl=context)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, session = await connecting
    except (OSError, TimeoutError) as error:
        raise BrokerLost(f"{broker.host}:{broker.port} can't be reached: {error or 'timed out'}") from error
    hello = packets.connect(
        client_id, keepalive_s=broker.keepalive_s, username=broker.username, password=broker.password
    )
    try:
        await session.handshake(hello)
    except BaseException:
        session.close()
        raise
    return session

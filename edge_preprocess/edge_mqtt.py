"""An edge node fed by a broker: telemetry lines come in on one topic, digests go out on their cells' topics.

A message is acknowledged once it is in the journal, and the session outlives the connection, so that nothing sent
while the node was away or died is lost. What the broker sends again because no acknowledgement had reached it, such as
one that was under way when the node was killed, is known by its mark and not taken twice. A digest that the broker had
not acknowledged is sent again by the next start.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_preprocess.compact import pack
from edge_preprocess.edge_node import MOST_RECENT
from edge_preprocess.errors import SourceUnreadable
from edge_preprocess.file_marks import mark
from telemetry_sim.mqtt_protocol import ROOT, digest_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paho.mqtt.reasoncodes import ReasonCode

    from edge_preprocess.digest import EdgeDigest

TELEMETRY_TOPIC = f"{ROOT}/telemetry"
"""JSON lines as in `edge_preprocess.wire`, one a message."""
_SESSION_S = 86_400
_PASSWORD = re.compile(r":[^/@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """As mqtt://[user:password@]host[:port][/client-name]; user and password may hold %-escapes."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    client_id: str

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """Read a URL; raises SourceUnreadable."""
        shown = _PASSWORD.sub(":***@", text)
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port or 1883
        except ValueError as error:
            raise SourceUnreadable(f"broker {shown!r}: {error}") from error
        if parts.scheme != "mqtt" or not host:
            raise SourceUnreadable(f"broker {shown!r}: mqtt://[user:password@]host[:port][/client-name] was expected")
        name = parts.path.strip("/") or "edgewright-edge"
        user, password = (None if part is None else unquote(part) for part in (parts.username, parts.password))
        return cls(host=host, port=port, username=user, password=password, client_id=name)


def _refuse(line: bytes) -> None:
    raise AssertionError(f"a line of {len(line)} bytes came before the source ran")


class BrokerSource:
    """Feeds a node from a broker until `stop` is called."""

    def __init__(self, url: BrokerUrl) -> None:
        self._url = url
        self._accept: Callable[[bytes], None] = _refuse
        self._recent: Callable[[], Iterable[str]] = tuple
        self._to_come_again: deque[str] = deque()
        """Marks of lines taken that the broker may still send again on this connection, in that order."""
        self._num_unacknowledged = 0
        """Changed by the thread that constructs until `run` starts the client's own, by that one from then on."""
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=url.client_id, protocol=mqtt.MQTTv5, manual_ack=True
        )
        self._client.username_pw_set(url.username, url.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    @property
    def is_empty(self) -> bool:
        """Whether the broker has acknowledged every digest."""
        return self._num_unacknowledged == 0

    def publish(self, digest: EdgeDigest) -> None:
        """Send a digest to its cell's topic, where the newest stays; before `run`, once it has connected."""
        self._num_unacknowledged += 1
        self._client.publish(digest_topic(digest.cell), pack(digest), qos=1, retain=True)

    def run(self, accept: Callable[[bytes], None], *, recent: Callable[[], Iterable[str]]) -> None:
        """Give messages to `accept` until `stop`; raises what went wrong while taking one.

        `recent` gives the marks of the newest lines that were taken, oldest first.
        """
        self._accept, self._recent = accept, recent
        # The library leaves this constructor untyped.
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = _SESSION_S
        session.ReceiveMaximum = MOST_RECENT
        try:
            self._client.connect(self._url.host, self._url.port, clean_start=False, properties=session)
        except OSError as error:
            raise SourceUnreadable(f"broker {self._url.host}:{self._url.port}: {error}") from error
        self._client.loop_start()
        try:
            self._ended.wait()
        finally:
            self._client.disconnect()
            self._client.loop_stop()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._ended.set()

    def _on_connect(
        self, client: mqtt.Client, userdata: object, flags: mqtt.ConnectFlags, reason: ReasonCode, properties: object
    ) -> None:
        del userdata, flags, properties
        if reason.is_failure:
            self._fail_refused("the connection", reason)
            return
        self._to_come_again = deque(self._recent())
        client.subscribe(TELEMETRY_TOPIC, qos=1)

    def _on_subscribe(
        self, client: mqtt.Client, userdata: object, mid: int, reasons: list[ReasonCode], properties: object
    ) -> None:
        del client, userdata, mid, properties
        for reason in reasons:
            if reason.is_failure:
                self._fail_refused(f"to send {TELEMETRY_TOPIC!r}", reason)

    def _on_publish(
        self, client: mqtt.Client, userdata: object, mid: int, reason: ReasonCode, properties: object
    ) -> None:
        del client, userdata, mid, properties
        if reason.is_failure:
            # It stays unacknowledged, so that the next start sends it again.
            self._fail_refused("a digest", reason)
            return
        self._num_unacknowledged -= 1

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        del userdata
        line = bytes(message.payload).replace(b"\n", b" ")
        if not (message.dup and self._has_come(mark(line))):
            try:
                self._accept(line)
            except Exception as error:  # noqa: BLE001 - handed to the thread that waits in `run`
                self._fail(error)
                return
        client.ack(message.mid, message.qos)
        client.loop_write()  # At once: the next line may be journalled before this thread comes to write.

    def _has_come(self, known: str) -> bool:
        """Whether this is the next of the lines that come again; a broker keeps their order."""
        if known not in self._to_come_again:
            return False
        while self._to_come_again.popleft() != known:
            pass
        return True

    def _fail_refused(self, what: str, reason: ReasonCode) -> None:
        self._fail(SourceUnreadable(f"broker {self._url.host}:{self._url.port}: refused {what}, {reason}"))

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._ended.set()

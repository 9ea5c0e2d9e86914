"""Targets on a broker: one MQTT session for each cell, each obeying its desired document."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import ValidationError

from telemetry_sim.actions import ControlAction
from telemetry_sim.desired_state import Apply, StateKeeper
from telemetry_sim.errors import ScenarioInvalid
from telemetry_sim.mqtt_client import BrokerClient, BrokerRefused
from telemetry_sim.mqtt_protocol import (
    CONFIRMATION_TOPIC,
    OFFLINE,
    ONLINE,
    Confirmation,
    DesiredDocument,
    ReportDocument,
    desired_topic,
    presence_topic,
    reported_topic,
)

LOG = logging.getLogger("edgewright.target")
_LONGEST_WAIT_S = 5.0
_LIBRARY_LOG = logging.getLogger("edgewright.mqtt")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker is and how to get in."""

    host: str = "127.0.0.1"
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    with_tls: bool = False
    keepalive_s: int = 10

    def client(self, identifier: str, *, will: aiomqtt.Will | None = None) -> BrokerClient:
        inner = aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5,
            will=will,
            keepalive=self.keepalive_s,
            clean_start=True,
            tls_params=aiomqtt.TLSParameters() if self.with_tls else None,
            timeout=10,
            logger=_LIBRARY_LOG,
            # Small messages back and forth: each would wait 40 ms for the other side's delayed acknowledgement.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            max_concurrent_outgoing_calls=1000,
        )
        return BrokerClient(inner)


def parse_broker(text: str) -> BrokerAddress:
    """`host:port`, or a host alone; raises ScenarioInvalid."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "1883"
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65_535:
        raise ScenarioInvalid(f"broker {text!r}: expected HOST:PORT such as 127.0.0.1:1883")
    return BrokerAddress(host=host.strip("[]"), port=int(port))


class MqttTarget:
    """One cell's session; reconnects with back-off and tells its presence by retained message and last will.

    While the broker refuses its subscriptions or reports it says that it is offline: nobody may count on it.

    `initial` is in force before anything is desired, and what a first trial goes back to.
    """

    def __init__(
        self,
        cell: int,
        apply: Apply,
        broker: BrokerAddress,
        *,
        initial: tuple[ControlAction, ...] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cell = cell
        self.num_quarantined = 0
        """Messages that could not be read."""
        self.refusal = ""
        """What the broker does not let the target do; empty where it lets it do everything."""
        self.keeper = StateKeeper(cell, apply, initial=initial)
        self._broker = broker
        self._monotonic = monotonic
        self._client: BrokerClient | None = None
        self._trial_changed = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        tasks = {asyncio.create_task(self._keep_time()), asyncio.create_task(self._stay_connected())}
        try:
            await asyncio.gather(*tasks)
        finally:
            # A cancellation that comes together with an acknowledgement may be swallowed below (Python 3.11).
            while tasks:
                for task in tasks:
                    task.cancel()
                _, tasks = await asyncio.wait(tasks, timeout=1.0)

    async def _keep_time(self) -> None:
        """End trials on time, whatever the connection does."""
        while True:
            self._trial_changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_left()):
                    await self._trial_changed.wait()
            report = self.keeper.tick(now_s=self._monotonic())
            if report is not None:
                LOG.info("cell %d went back to version %d", self.cell, report.version)
                try:
                    await self._say(report, None)
                except BrokerRefused as error:
                    self._note_refusal(error)
                except aiomqtt.MqttError as error:
                    LOG.debug("cell %d: the report waits for the broker: %s", self.cell, error)

    async def _stay_connected(self) -> None:
        wait_s = 0.1
        while True:
            try:
                will = aiomqtt.Will(presence_topic(self.cell), OFFLINE, qos=1, retain=True)
                async with self._broker.client(f"edgewright-cell-{self.cell}", will=will) as client:
                    wait_s = 0.1
                    self._client = client
                    try:
                        await self._serve(client)
                    except (asyncio.CancelledError, BrokerRefused):
                        # An orderly disconnect sends no last will.
                        with contextlib.suppress(aiomqtt.MqttError):
                            await client.publish(presence_topic(self.cell), OFFLINE, retain=True)
                        raise
            except BrokerRefused as error:
                self._note_refusal(error)
                wait_s = _LONGEST_WAIT_S
            except aiomqtt.MqttError as error:
                LOG.debug("cell %d lost the broker: %s", self.cell, error)
            finally:
                self._client = None
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _serve(self, client: BrokerClient) -> None:
        await self._say(self.keeper.last_report, None)
        await client.subscribe(CONFIRMATION_TOPIC, desired_topic(self.cell))
        await client.publish(presence_topic(self.cell), ONLINE, retain=True)
        self.refusal = ""
        async for message in client.messages:
            await self._take(message)
            self._trial_changed.set()

    async def _take(self, message: aiomqtt.Message) -> None:
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        try:
            if str(message.topic) == CONFIRMATION_TOPIC:
                report = self.keeper.confirm(Confirmation.model_validate_json(payload).version)
                await self._say(report, None)
                return
            document = DesiredDocument.model_validate_json(payload)
        except ValidationError as error:
            self.num_quarantined += 1
            LOG.warning("cell %d: unreadable message on %s: %d faults", self.cell, message.topic, error.error_count())
            return
        await self._say(self.keeper.desire(document, now_s=self._monotonic()), message)

    async def _say(self, report: ReportDocument | None, request: aiomqtt.Message | None) -> None:
        client = self._client
        if report is None or client is None:
            return
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # the library has no hints here
        correlation = None if request is None else getattr(request.properties, "CorrelationData", None)
        if correlation is not None:
            properties.CorrelationData = correlation
        await client.publish(reported_topic(self.cell), report.model_dump_json(), retain=True, properties=properties)

    def _note_refusal(self, error: BrokerRefused) -> None:
        self.refusal = str(error)
        LOG.warning("cell %d: %s", self.cell, error)

    def _seconds_left(self) -> float | None:
        ends_s = self.keeper.trial_ends_s
        return None if ends_s is None else max(0.0, ends_s - self._monotonic())

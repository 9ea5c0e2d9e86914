"""A connection to an MQTT 5 broker on which a refusal is an error.

The library below hands failing reason codes of a subscription to nobody who asks, and drops those of a publication.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiomqtt
from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

_TIMEOUT_S = 10.0


class BrokerRefused(aiomqtt.MqttError):
    """A broker that is there and does not take a publication, or does not grant a subscription."""


class BrokerClient:
    """Wraps a client that is not connected yet; everything is sent at least once."""

    def __init__(self, inner: aiomqtt.Client) -> None:
        self._inner = inner
        self._answers: dict[int, asyncio.Future[ReasonCode]] = {}
        """Of the publications under way, by packet id."""
        inner._client.on_publish = self._on_publish  # noqa: SLF001 - the only place where the reason can be had

    @property
    def messages(self) -> AsyncIterator[aiomqtt.Message]:
        return self._inner.messages

    async def subscribe(self, *topics: str) -> None:
        """Raises BrokerRefused where any of them is not granted."""
        reasons = await self._inner.subscribe([(topic, 1) for topic in topics])
        for topic, reason in zip(topics, reasons, strict=False):
            if isinstance(reason, ReasonCode) and reason.is_failure:
                raise BrokerRefused(f"the broker refused to send {topic!r}: {_told(reason)}")

    async def unsubscribe(self, topic: str) -> None:
        await self._inner.unsubscribe(topic)

    async def publish(
        self, topic: str, payload: str | bytes, *, retain: bool = False, properties: Properties | None = None
    ) -> None:
        """Returns once the broker has taken it; raises BrokerRefused where it does not."""
        info = self._inner._client.publish(topic, payload, 1, retain, properties)  # noqa: SLF001
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttError(f"{topic!r} could not be published: {paho.error_string(info.rc)}")
        answer: asyncio.Future[ReasonCode] = asyncio.get_running_loop().create_future()
        self._answers[info.mid] = answer
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reason = await answer
        except TimeoutError as error:
            raise aiomqtt.MqttError(f"no answer from the broker within {_TIMEOUT_S:g} s") from error
        finally:
            self._answers.pop(info.mid, None)
        if reason.is_failure:
            raise BrokerRefused(f"the broker refused to take {topic!r}: {_told(reason)}")

    def _on_publish(
        self, client: paho.Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties
    ) -> None:
        del client, userdata, properties
        answer = self._answers.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(reason)

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)


def _told(reason: ReasonCode) -> str:
    """As in `Not authorized (0x87)`."""
    return f"{reason} ({reason.value:#04x})"

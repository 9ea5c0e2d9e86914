"""Digests from edge nodes on a broker, in the shape in which the control loop takes its telemetry."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import aiomqtt
from pydantic import ValidationError

from api.errors import NetworkSilent
from edge_preprocess.compact import unpack
from edge_preprocess.digest import EdgeDigest
from edge_preprocess.errors import DigestInvalid
from telemetry_sim.mqtt_client import BrokerRefused
from telemetry_sim.mqtt_protocol import DIGESTS_FILTER, cell_of_topic
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.feed")
_LONGEST_WAIT_S = 5.0
_STALE_INTERVALS = 3
_MAX_TOLD = 1000
"""Topics whose first unreadable message is logged; whoever may publish may make up more."""


class BrokerFeed:
    """Source and pipeline at once: the edge nodes have digested already, so an interval has no frames here.

    `interval_s` is the wall-clock time in which a cell's next digest is due.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        topology: Topology,
        *,
        interval_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.topology = topology
        self.num_quarantined = 0
        """Messages that could not be read."""
        self._broker = broker
        self._lifetime_s = _STALE_INTERVALS * interval_s
        self._monotonic = monotonic
        self._digests: dict[int, tuple[float, EdgeDigest]] = {}
        """With when each came in: edges' clocks are not ours, and one of them may be wrong."""
        self._told: set[str] = set()
        """Topics of which a message was quarantined."""
        self._refusal = ""
        """Why the broker sends us nothing; empty where it does."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="broker-feed", daemon=True)
        self._thread.start()

    def next_interval(self, duration_s: float) -> Telemetry | None:
        del duration_s
        return Telemetry(frames=())

    def digest(
        self,
        frames: Sequence[TelemetryFrame],
        logs: Sequence[LogRecord],
        *,
        unreadable: Mapping[str, int] | None = None,
    ) -> tuple[EdgeDigest, ...]:
        """The latest digest of every cell that still speaks, in the topology's order; none before the first.

        Raises NetworkSilent where all have fallen silent, or the broker refuses to send what they say.
        """
        del frames, logs, unreadable
        known = {cell: digest for cell, (came_s, digest) in dict(self._digests).items() if self._is_fresh(came_s)}
        if self._refusal and not known:
            raise NetworkSilent(self._refusal)
        if self._digests and not known:
            raise NetworkSilent(f"no cell has sent a digest for {self._lifetime_s:g} s")
        return tuple(known[cell.id] for cell in self.topology.cells if cell.id in known)

    def close(self) -> None:
        async def end() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        wait_s = 0.1
        while True:
            try:
                async with self._broker.client("edgewright-feed") as client:
                    await client.subscribe(DIGESTS_FILTER)
                    wait_s, self._refusal = 0.1, ""
                    async for message in client.messages:
                        self._take(message)
            except BrokerRefused as error:
                self._refusal = str(error)
                LOG.warning("%s", error)
            except aiomqtt.MqttError as error:
                LOG.warning("the broker was lost: %s", error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _take(self, message: aiomqtt.Message) -> None:
        topic = str(message.topic)
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        slices = tuple(profile.id for profile in self.topology.slices)
        try:
            digest = _read(bytes(payload))
        except DigestInvalid as error:
            self._quarantine(topic, str(error))
            return
        if digest.cell != cell_of_topic(topic):
            self._quarantine(topic, f"tells of cell {digest.cell}")
        elif tuple(row.slice for row in digest.slices) != slices:
            self._quarantine(topic, f"tells of {len(digest.slices)} slices other than the {len(slices)} known here")
        elif self._is_news(digest):
            self._digests[digest.cell] = (self._monotonic(), digest)

    def _quarantine(self, topic: str, reason: str) -> None:
        """Count a message; the first of its topic is logged."""
        self.num_quarantined += 1
        if topic not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(topic)
            LOG.warning("a message on %r is quarantined, later ones are only counted: %.300r", topic, reason)

    def _is_news(self, digest: EdgeDigest) -> bool:
        if digest.cell not in self._digests:
            return True
        came_s, held = self._digests[digest.cell]
        # An edge whose clock went back is believed once what it said before has grown old.
        return digest.end_s > held.end_s or (digest.end_s < held.end_s and not self._is_fresh(came_s))

    def _is_fresh(self, came_s: float) -> bool:
        return self._monotonic() - came_s <= self._lifetime_s


def _read(payload: bytes) -> EdgeDigest:
    """A digest in either of the forms that edge nodes send; raises DigestInvalid."""
    if payload.lstrip()[:1] == b"[":
        return unpack(payload)
    try:
        return EdgeDigest.model_validate_json(payload)
    except ValidationError as error:
        raise DigestInvalid(f"{payload[:40]!r}: {error.error_count()} faults, a digest is needed") from error

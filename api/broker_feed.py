"""Digests from edge nodes on a broker, in the shape in which the control loop takes its telemetry."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence

import aiomqtt
from pydantic import ValidationError

from edge_preprocess.digest import EdgeDigest
from telemetry_sim.mqtt_protocol import DIGESTS_FILTER, cell_of_topic
from telemetry_sim.mqtt_target import BrokerAddress
from telemetry_sim.records import LogRecord, Telemetry, TelemetryFrame
from telemetry_sim.topology import Topology

LOG = logging.getLogger("edgewright.feed")
_LONGEST_WAIT_S = 5.0
_STALE_INTERVALS = 3


class BrokerFeed:
    """Source and pipeline at once: the edge nodes have digested already, so an interval has no frames here."""

    def __init__(self, broker: BrokerAddress, topology: Topology, *, interval_s: float) -> None:
        self.topology = topology
        self.num_quarantined = 0
        """Messages that could not be read."""
        self._broker = broker
        self._interval_s = interval_s
        self._digests: dict[int, EdgeDigest] = {}
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
        """The latest digest of every cell that is not left behind, in the topology's order."""
        del frames, logs, unreadable
        known = dict(self._digests)
        newest_s = max((digest.end_s for digest in known.values()), default=0.0)
        oldest_s = newest_s - _STALE_INTERVALS * self._interval_s
        return tuple(
            known[cell.id] for cell in self.topology.cells if cell.id in known and known[cell.id].end_s >= oldest_s
        )

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
                    wait_s = 0.1
                    await client.subscribe(DIGESTS_FILTER, qos=1)
                    async for message in client.messages:
                        self._take(message)
            except aiomqtt.MqttError as error:
                LOG.warning("the broker was lost: %s", error)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _take(self, message: aiomqtt.Message) -> None:
        cell = cell_of_topic(str(message.topic))
        payload = message.payload if isinstance(message.payload, bytes | bytearray) else b""
        slices = tuple(profile.id for profile in self.topology.slices)
        try:
            digest = EdgeDigest.model_validate_json(payload)
        except ValidationError:
            self.num_quarantined += 1
            return
        if digest.cell != cell or tuple(row.slice for row in digest.slices) != slices:
            self.num_quarantined += 1
            return
        self._digests[digest.cell] = digest

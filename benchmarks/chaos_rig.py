"""What faults are injected into: broker, gate with its store, dispatcher, and one target a cell behind a wire."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from agent.dispatch.mqtt import CommitTiming, MqttDispatcher
from agent.errors import AgentError
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.store import Store
from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget
from tests.contract.agent.test_dispatchers import ObeyingNetwork, drain_tasks, full, small_topology
from tests.service_fixtures import Broker, find_binary, free_port

CELLS = tuple(cell.id for cell in small_topology().cells)
TRIAL_S = 2.0
HEALED_WITHIN_S = 25.0
TIMING = CommitTiming(answer_within_s=1.0, confirm_within_s=TRIAL_S, presence_within_s=0.2)


class Proxy:
    """A target's wire to the broker, which can be cut."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.is_open = True
        self.is_deaf = False
        """Bytes are taken and lost, and nobody is told."""
        self._broker_port = broker_port
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """No byte passes and every connection ends; new ones are refused."""
        self.is_open = False
        for writer in list(self._writers):
            writer.transport.abort()

    async def heal(self) -> None:
        if self.is_deaf:
            # What was lost can't be found again in the middle of a stream, so the connection ends.
            self.cut()
            self.is_deaf = False
        self.is_open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer), return_exceptions=True)
        for one in pair:
            one.transport.abort()
        self._writers -= pair

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.is_deaf:
                continue
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


def open_server(
    folder: Path, broker_port: int, clock: Callable[[], float] = time.time
) -> tuple[Store, MqttDispatcher, Gate]:
    """Store, dispatcher and gate on what the folder and the broker hold."""
    topology = small_topology()
    store = Store.open(f"sqlite:///{folder}/chaos.db", clock)
    dispatcher = MqttDispatcher(BrokerAddress(port=broker_port, keepalive_s=2), topology, timing=TIMING)
    settings = GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.AUTONOMOUS))
    return store, dispatcher, Gate(store=store, dispatcher=dispatcher, topology=topology, settings=settings)


def next_policy(gate: Gate, rng: random.Random) -> SchedulingPolicy:
    """A random split of every cell, planned against what is in force."""
    planned = full(gate.next_version(), rng.randrange(5, 96), CELLS)
    return planned.model_copy(update={"parent_version": gate.desired.version, "valid_until_s": 1e9})


def submit_until_killed(folder: str, broker_port: str, seed: str) -> None:
    """A server that sends one policy after the other, and says which as soon as each was enforced."""
    _, _, gate = open_server(Path(folder), int(broker_port))
    gate.resume()
    rng = random.Random(seed)
    while True:
        policy = next_policy(gate, rng)
        try:
            outcome = gate.submit(policy, now_s=float(policy.version * 10))
        except AgentError as error:
            print(f"refused {error}", flush=True)
            continue
        if outcome.is_enforced:
            print(f"enforced {policy.version}", flush=True)


class Rig:
    """Broker, gate with its store, dispatcher and one target a cell, each behind a wire that can be cut."""

    def __init__(self, folder: Path) -> None:
        binary = find_binary("mosquitto")
        if binary is None:
            sys.exit("mosquitto is not installed (.ci/services.sh installs it)")
        self.folder = folder
        self.clock_skew_s = 0.0
        self.broker = Broker(binary, folder)
        self.broker.start()
        self.network = ObeyingNetwork(small_topology())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.proxies = {cell: Proxy(self.broker.port) for cell in CELLS}
        self.targets: dict[int, Future[None]] = {}
        for cell in CELLS:
            self.on_loop(self.proxies[cell].start())
            self.start_target(cell)
        self.open_server()

    def on_loop(self, coroutine: object) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=20)  # type: ignore[arg-type]

    def open_server(self) -> None:
        self.store, self.dispatcher, self.gate = open_server(
            self.folder, self.broker.port, lambda: time.time() + self.clock_skew_s
        )

    def close_server(self) -> None:
        self.dispatcher.close()
        self.store.close()

    def start_target(self, cell: int) -> None:
        address = BrokerAddress(port=self.proxies[cell].port, keepalive_s=2)
        target = MqttTarget(cell, self._apply_to(cell), address)
        self.targets[cell] = asyncio.run_coroutine_threadsafe(target.run(), self._loop)

    def kill_target(self, cell: int) -> None:
        """Its wire is cut first, so that it can't say goodbye."""
        self._loop.call_soon_threadsafe(self.proxies[cell].cut)
        self.targets[cell].cancel()

    def cut(self, cell: int) -> None:
        self._loop.call_soon_threadsafe(self.proxies[cell].cut)

    def deafen(self, cell: int) -> None:
        """Messages are lost without a word from here on; both ends find out by their keep-alive, or never."""
        self.proxies[cell].is_deaf = True

    def heal(self, cell: int) -> None:
        """Done when it returns: on a busy machine a cut that was asked for before may still be to come."""
        self.on_loop(self.proxies[cell].heal())

    def policy(self, rng: random.Random) -> SchedulingPolicy:
        return next_policy(self.gate, rng)

    def submit(self, policy: SchedulingPolicy) -> None:
        try:
            self.gate.submit(policy, now_s=float(policy.version * 10))
        except AgentError:
            return

    def in_force(self) -> set[int | None]:
        states = [self.network.state.get((cell, small_topology().slices[0].id)) for cell in CELLS]
        return {getattr(state, "min_pct", None) for state in states}

    def wanted(self) -> int | None:
        action = self.gate.desired.actions[CELLS[0], small_topology().slices[0].id]
        return getattr(action, "min_pct", None)

    def settles(self, timeout_s: float = HEALED_WITHIN_S) -> float | None:
        """Seconds until every target has what the gate wants; None where that did not come about."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < timeout_s:
            self.gate.reconcile()
            if self.gate.desired.version == 0 or self.in_force() in ({self.wanted()}, {None}):
                return time.monotonic() - began_s
            time.sleep(0.1)
        return None

    def close(self) -> None:
        self.close_server()
        for future in self.targets.values():
            future.cancel()
        for proxy in self.proxies.values():
            self.on_loop(proxy.stop())
        self.on_loop(drain_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self.broker.stop()

    def _apply_to(self, cell: int) -> Callable[[tuple[object, ...], int], str]:
        def apply(actions: tuple[object, ...], version: int) -> str:
            if actions:
                self.network.apply(actions, policy_version=version)  # type: ignore[arg-type]
            return ""

        del cell
        return apply

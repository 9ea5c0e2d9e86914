"""The REST face over a control loop whose network obeys and has nothing to report."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Self

import httpx
import pytest

from agent.control_loop import ControlLoop
from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gate import Gate, GateSettings
from agent.gate.gated_dispatcher import GatedDispatcher
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.planner import optimiser_planner
from agent.store.store import Store
from api.app import create_app
from api.operations import Operations
from api.settings import ApiSettings
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.actions import Acknowledgement, ControlAction
from telemetry_sim.records import Telemetry
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from tests.acknowledgements import acknowledged

TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name=f"site {cell}", x_m=500.0 * cell, y_m=0) for cell in (1, 2, 3)),
    slices=tuple(
        SliceProfile(
            id=SliceId(sst=sst, sd=sd),
            name=name,
            five_qi=9,
            delay_budget_ms=budget_ms,
            in_time_target=0.95,
            packet_size_bits=12_000,
        )
        for sst, sd, name, budget_ms in (
            (1, 1, "video", 300.0),
            (2, 1, "control", 10.0),
            (3, 0xFFFFFF, "meters", 1000.0),
        )
    ),
)
DEFAULT_GATE = GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.AUTONOMOUS))


class ObedientNetwork:
    def __init__(self) -> None:
        self.down: set[int] = set()
        self.applied: list[int] = []

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        self.applied.append(policy_version)
        return acknowledged(actions, policy_version=policy_version, down=self.down)


@dataclass(frozen=True)
class QuietSource:
    topology: Topology = TOPOLOGY

    def next_interval(self, duration_s: float) -> Telemetry:
        del duration_s
        return Telemetry(frames=(), logs=())


class SettableClock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Stage:
    """What a test can reach behind the REST face."""

    store: Store
    network: ObedientNetwork
    gate: Gate
    operations: Operations
    clock: SettableClock


def build_stage(url: str, clock: SettableClock, gate_settings: GateSettings = DEFAULT_GATE) -> Stage:
    store = Store.open(url, clock)
    network = ObedientNetwork()
    inner = InProcessDispatcher(network, TOPOLOGY)
    gate = Gate(store=store, dispatcher=inner, topology=TOPOLOGY, settings=gate_settings)
    dispatcher = GatedDispatcher(gate, inner)
    loop = ControlLoop(
        source=QuietSource(), pipeline=EdgePipeline(TOPOLOGY), planner=optimiser_planner(), dispatcher=dispatcher
    )
    operations = Operations(loop=loop, gate=gate, dispatcher=dispatcher, store=store)
    return Stage(store=store, network=network, gate=gate, operations=operations, clock=clock)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def stage(tmp_path, clock) -> Iterator[Stage]:
    built = build_stage(f"sqlite:///{tmp_path}/store.db", clock)
    yield built
    built.store.close()


@pytest.fixture
def operations(stage) -> Operations:
    return stage.operations


class PausedWriter:
    """A store's writer that takes no work until the block ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._resumed = threading.Event()

    async def has(self, num_waiting: int) -> None:
        """Returns once as many pieces of work wait."""
        deadline_s = time.monotonic() + 10.0
        while self._store._writer._jobs.qsize() < num_waiting:
            assert time.monotonic() < deadline_s, f"{self._store._writer._jobs.qsize()} of {num_waiting} came to wait"
            await asyncio.sleep(0)

    def __enter__(self) -> Self:
        begun = threading.Event()

        def pause(_: object) -> None:
            begun.set()
            self._resumed.wait(30)

        self._store.submit(pause)
        assert begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._resumed.set()


def client_for(operations: Operations, settings: ApiSettings | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_app(operations, settings), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
async def client(operations) -> AsyncIterator[httpx.AsyncClient]:
    async with client_for(operations) as made:
        yield made

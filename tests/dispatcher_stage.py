"""Targets that obey behind each kind of dispatcher, and the policies that they are sent."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from agent.dispatch.desired import target_of
from agent.dispatch.in_process import InProcessDispatcher
from agent.dispatch.mqtt import CommitTiming, MqttDispatcher
from agent.dispatch.port import Dispatcher
from agent.policy import SchedulingPolicy
from telemetry_sim.actions import Acknowledgement, ControlAction, SliceAction
from telemetry_sim.errors import ActionInvalid
from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from tests.acknowledgements import acknowledged
from tests.service_fixtures import Broker

BROADBAND, URGENT = SliceId(sst=1), SliceId(sst=2)


def small_topology(num_cells: int = 3) -> Topology:
    return Topology(
        cells=tuple(CellSite(id=10 + i, name=f"cell {i}", x_m=500.0 * i, y_m=0) for i in range(num_cells)),
        slices=tuple(
            SliceProfile(
                id=slice_id,
                name=name,
                five_qi=9,
                delay_budget_ms=budget_ms,
                in_time_target=0.95,
                packet_size_bits=12_000,
            )
            for slice_id, name, budget_ms in ((BROADBAND, "broadband", 300.0), (URGENT, "urgent", 10.0))
        ),
    )


def share(cell: int, pct: int, slice_id: SliceId = BROADBAND) -> SliceAction:
    return SliceAction(cell=cell, slice=slice_id, min_pct=pct)


def policy(version: int, *actions: ControlAction) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1,
        planner="uniform",
        valid_from_s=10.0,
        valid_until_s=60.0,
        actions=actions,
    )


class ObeyingNetwork:
    """Obeys as the simulator's network does: one acknowledgement per cell; cells that are down refuse."""

    def __init__(self, topology: Topology) -> None:
        self._known = {cell.id for cell in topology.cells}
        self.down: set[int] = set()
        self.num_applied = 0
        self.state: dict[tuple[int, SliceId | None], ControlAction] = {}

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        for action in actions:
            if action.cell not in self._known:
                raise ActionInvalid(f"cell {action.cell} is unknown")
        self.num_applied += 1
        self.state.update({target_of(action): action for action in actions if action.cell not in self.down})
        return acknowledged(actions, policy_version=policy_version, down=self.down)


class InProcessStage:
    """A dispatcher over a network in the same process."""

    def __init__(self) -> None:
        self.network = ObeyingNetwork(small_topology())
        self.dispatcher: Dispatcher = InProcessDispatcher(self.network, small_topology())

    def take_down(self, cell: int) -> None:
        self.network.down.add(cell)

    def bring_back(self, cell: int) -> None:
        self.network.down.discard(cell)

    def restart_dispatcher(self) -> None:
        self.dispatcher = InProcessDispatcher(self.network, small_topology())

    def close(self) -> None:
        pass


class MqttStage:
    """A dispatcher, a broker, and a target's session for each cell in a thread of their own."""

    def __init__(self, broker: Broker) -> None:
        self.network = ObeyingNetwork(small_topology())
        self.broker = broker
        self.address = BrokerAddress(port=broker.port, keepalive_s=5)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._targets: dict[int, Future[None]] = {}
        self.targets: dict[int, MqttTarget] = {}
        for cell in small_topology().cells:
            self.bring_back(cell.id)
        self.dispatcher: MqttDispatcher = self._new_dispatcher()

    def take_down(self, cell: int) -> None:
        future = self._targets.pop(cell)
        future.cancel()
        wait_until(lambda: not self._state(cell).is_online)

    def bring_back(self, cell: int) -> None:
        target = self.targets[cell] = MqttTarget(cell, self._apply_to(cell), self.address)
        self._targets[cell] = asyncio.run_coroutine_threadsafe(target.run(), self._loop)
        if hasattr(self, "dispatcher"):
            wait_until(lambda: self._state(cell).is_online)

    def restart_dispatcher(self) -> None:
        self.dispatcher.close()
        self.dispatcher = self._new_dispatcher()

    def close(self) -> None:
        self.dispatcher.close()
        for future in self._targets.values():
            future.cancel()
        done = asyncio.run_coroutine_threadsafe(drain_tasks(), self._loop)
        done.result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _new_dispatcher(self) -> MqttDispatcher:
        timing = CommitTiming(answer_within_s=2.0, confirm_within_s=3.0, presence_within_s=0.2)
        made = MqttDispatcher(self.address, small_topology(), timing=timing)
        wait_until(lambda: {s.cell for s in made.states() if s.is_online} == set(self._targets))
        return made

    def _state(self, cell: int):
        return next(state for state in self.dispatcher.states() if state.cell == cell)

    def _apply_to(self, cell: int):
        def apply(actions: tuple[ControlAction, ...], version: int) -> str:
            (answer,) = self.network.apply(actions, policy_version=version) if actions else (None,)
            return "" if answer is None or answer.applied else answer.reason

        return apply


async def drain_tasks() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def wait_until(is_true, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@pytest.fixture(params=["in_process", pytest.param("mqtt", marks=pytest.mark.broker)])
def stage(request):
    built = InProcessStage() if request.param == "in_process" else MqttStage(request.getfixturevalue("broker"))
    yield built
    built.close()


@pytest.fixture
def mqtt_stage(broker):
    built = MqttStage(broker)
    yield built
    built.close()


def in_force(stage, cell: int, slice_id: SliceId = BROADBAND) -> int | None:
    action = stage.network.state.get((cell, slice_id))
    return action.min_pct if isinstance(action, SliceAction) else None


def full(version: int, pct: int, cells=(10, 11, 12)) -> SchedulingPolicy:
    return policy(version, *(part for cell in cells for part in (share(cell, pct), share(cell, 100 - pct, URGENT))))


def publish_raw(address: BrokerAddress, topic: str, payload: bytes) -> None:
    async def publish() -> None:
        async with address.client("test-publisher") as client:
            await client.publish(topic, payload)

    asyncio.run(publish())

"""A gate over a network that records what it is told, for the gate's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.dispatch.in_process import InProcessDispatcher
from agent.gate.gate import Gate, GateSettings
from agent.gate.limits import Limits
from agent.gate.risk import Mode
from agent.gate.stops import Stops
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, find_policy
from agent.store.store import Store
from telemetry_sim.actions import Acknowledgement, ControlAction, SliceAction
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from tests.acknowledgements import acknowledged

ONE, TWO = SliceId(sst=1), SliceId(sst=2)
TOPOLOGY = Topology(
    cells=tuple(CellSite(id=cell, name="c", x_m=cell, y_m=0) for cell in (10, 11)),
    slices=tuple(
        SliceProfile(id=i, name="s", five_qi=9, delay_budget_ms=10, in_time_target=0.9, packet_size_bits=1)
        for i in (ONE, TWO)
    ),
)
SETTINGS = GateSettings(limits=Limits(max_share_step_pct=60))


class RecordingNetwork:
    def __init__(self) -> None:
        self.down: set[int] = set()
        self.state: dict[tuple[int, object], ControlAction] = {}
        self.versions: list[int] = []

    def apply(self, actions: tuple[ControlAction, ...], *, policy_version: int) -> tuple[Acknowledgement, ...]:
        self.versions.append(policy_version)
        for action in actions:
            if action.cell not in self.down:
                self.state[action.cell, getattr(action, "slice", None)] = action
        return acknowledged(actions, policy_version=policy_version, down=self.down)


class SettableClock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store(tmp_path, clock) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store.db", clock) as opened:
        yield opened


@pytest.fixture
def network() -> RecordingNetwork:
    return RecordingNetwork()


def make_gate(store: Store, network: RecordingNetwork, settings: GateSettings = SETTINGS) -> Gate:
    return Gate(store=store, dispatcher=InProcessDispatcher(network, TOPOLOGY), topology=TOPOLOGY, settings=settings)


@pytest.fixture
def gate(store, network) -> Gate:
    made = make_gate(store, network)
    made.set_stops(Stops(mode=Mode.AUTONOMOUS), actor="ann")
    return made


def shares(one: int, two: int, cell: int = 10) -> tuple[SliceAction, ...]:
    return (SliceAction(cell=cell, slice=ONE, min_pct=one), SliceAction(cell=cell, slice=TWO, min_pct=two))


def policy(version: int, *actions: ControlAction, parent: int | None = None, at_s: float = 0.0) -> SchedulingPolicy:
    return SchedulingPolicy(
        version=version,
        parent_version=version - 1 if parent is None else parent,
        planner="optimiser",
        valid_from_s=at_s,
        valid_until_s=at_s + 100.0,
        actions=actions or shares(60, 40),
    )


def status(store: Store, version: int) -> PolicyStatus:
    return store.read(lambda c: find_policy(c, version)).status

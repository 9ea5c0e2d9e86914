"""One policy to a thousand targets: what it costs in process and over MQTT."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.control_plane_figures import figure

ROOT = Path(__file__).parents[1]


def measure_fan_out(folder: Path, num_targets: int) -> list[dict[str, object]]:
    from agent.dispatch.in_process import InProcessDispatcher
    from tests.contract.agent.test_dispatchers import ObeyingNetwork, full, small_topology

    topology = small_topology(num_targets)
    cells = tuple(cell.id for cell in topology.cells)
    dispatcher = InProcessDispatcher(ObeyingNetwork(topology), topology)
    policy = full(1, 60, cells)
    began_s = time.process_time()
    assert dispatcher.dispatch(policy).is_enforced
    in_process_ms = 1000 * (time.process_time() - began_s)
    rows = [
        figure(f"fan-out to {num_targets} targets in process [CPU ms]", in_process_ms, "<= 10", in_process_ms <= 10)
    ]
    if shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None:
        return [*rows, figure("fan-out over MQTT", None, "mosquitto is missing", False)]
    return rows + _measure_mqtt(folder, num_targets)


def _measure_mqtt(folder: Path, num_targets: int) -> list[dict[str, object]]:
    from agent.dispatch.mqtt import CommitTiming, MqttDispatcher
    from telemetry_sim.mqtt_target import BrokerAddress
    from tests.contract.agent.test_dispatchers import full, small_topology, wait_until
    from tests.service_fixtures import Broker, find_binary

    topology = small_topology(num_targets)
    # Saving all retained messages after each of them is a test's wish, not an operator's.
    broker = Broker(find_binary("mosquitto") or "mosquitto", folder, saves_every_change=False)
    broker.start()
    code = f"from benchmarks.control_plane_fan_out import run_targets; run_targets({broker.port}, {num_targets})"
    targets = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    dispatcher = MqttDispatcher(
        BrokerAddress(port=broker.port), topology, timing=CommitTiming(answer_within_s=60.0, confirm_within_s=120.0)
    )
    try:
        wait_until(lambda: all(state.is_online for state in dispatcher.states()), timeout_s=180)
        policies = [full(version, 50 + version, tuple(cell.id for cell in topology.cells)) for version in (1, 2, 3)]
        spent, walls = [], []
        for policy in policies:
            began_s, began_wall_s = time.process_time(), time.perf_counter()
            assert dispatcher.dispatch(policy).is_enforced
            spent.append(1000 * (time.process_time() - began_s))
            walls.append(1000 * (time.perf_counter() - began_wall_s))
    finally:
        dispatcher.close()
        targets.terminate()
        targets.wait(timeout=30)
        broker.stop()
    return [
        figure(
            f"fan-out to {num_targets} MQTT targets, all acknowledged [CPU ms]", min(spent), "<= 100", min(spent) <= 100
        ),
        figure("the same [wall ms]", min(walls), "reported", True),
    ]


def _obey(actions: object, version: int) -> str:
    del actions, version
    return ""


def run_targets(port: int, num_targets: int) -> None:
    """So many cells' sessions in one process."""
    from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def run() -> None:
        address = BrokerAddress(port=port, keepalive_s=600)
        async with asyncio.TaskGroup() as group:
            for index in range(num_targets):
                group.create_task(MqttTarget(10 + index, _obey, address).run())
                await asyncio.sleep(0.002)

    asyncio.run(run())

"""Injected faults, and what was left after healing: every policy all-applied or all-reverted, nothing accepted lost.

Each fault is a line of the state file, so a long run can be stopped and taken up again (`--resume`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from agent.dispatch.mqtt import CommitTiming, MqttDispatcher  # noqa: E402 (the path comes first)
from agent.errors import AgentError, StoreUnusable  # noqa: E402 (the path comes first)
from agent.gate.gate import Gate, GateSettings  # noqa: E402 (the path comes first)
from agent.gate.limits import Limits  # noqa: E402 (the path comes first)
from agent.gate.risk import Mode  # noqa: E402 (the path comes first)
from agent.gate.stops import Stops  # noqa: E402 (the path comes first)
from agent.policy import SchedulingPolicy  # noqa: E402 (the path comes first)
from agent.store.audit_trail import verify_trail  # noqa: E402 (the path comes first)
from agent.store.policies import PolicyStatus, find_policy  # noqa: E402 (the path comes first)
from agent.store.sessions import load_switches, set_switch  # noqa: E402 (the path comes first)
from agent.store.store import Store  # noqa: E402 (the path comes first)
from telemetry_sim.mqtt_target import BrokerAddress, MqttTarget  # noqa: E402 (the path comes first)
from tests.contract.agent.test_dispatchers import ObeyingNetwork, drain_tasks, full, small_topology  # noqa: E402 (the path comes first)
from tests.service_fixtures import Broker, find_binary, free_port  # noqa: E402 (the path comes first)

CELLS = tuple(cell.id for cell in small_topology().cells)
TRIAL_S = 2.0
HEALED_WITHIN_S = 25.0
TIMING = CommitTiming(answer_within_s=1.0, confirm_within_s=TRIAL_S, presence_within_s=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found after one fault had healed."""

    kind: str
    is_consistent: bool
    num_lost: int
    is_trail_intact: bool
    healed_after_s: float
    note: str = ""


class Proxy:
    """A target's wire to the broker, which can be cut."""

    def __init__(self, broker_port: int) -> None:
        self.port = free_port()
        self.is_open = True
        self._broker_port = broker_port
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """No byte passes, and nobody is told: the other end hears of it by its keep-alive alone."""
        self.is_open = False
        for writer in list(self._writers):
            writer.transport.abort()

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
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


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
        self.store = Store.open(f"sqlite:///{self.folder}/chaos.db", lambda: time.time() + self.clock_skew_s)
        self.dispatcher = MqttDispatcher(
            BrokerAddress(port=self.broker.port, keepalive_s=2), small_topology(), timing=TIMING
        )
        self.gate = Gate(
            store=self.store,
            dispatcher=self.dispatcher,
            topology=small_topology(),
            settings=GateSettings(limits=Limits(max_share_step_pct=100), default_stops=Stops(mode=Mode.AUTONOMOUS)),
        )

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

    def heal(self, cell: int) -> None:
        self.proxies[cell].is_open = True

    def policy(self, rng: random.Random) -> SchedulingPolicy:
        version = self.gate.next_version()
        return full(version, rng.randrange(5, 96), CELLS).model_copy(
            update={"parent_version": self.gate.desired.version, "valid_until_s": 1e9}
        )

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
        self.dispatcher.close()
        self.store.close()
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


def in_flight(rig: Rig, rng: random.Random, fault: Callable[[], None], heal: Callable[[], None]) -> tuple[int, str]:
    """Send a policy and let the fault strike at any moment of it; the policy's version."""
    policy = rig.policy(rng)
    sending = threading.Thread(target=rig.submit, args=(policy,))
    sending.start()
    time.sleep(rng.random() * 0.1)
    fault()
    time.sleep(rng.random() * 1.5 * TRIAL_S)
    heal()
    sending.join(timeout=60)
    return policy.version, "" if not sending.is_alive() else "the submission hangs"


def broker_kill(rig: Rig, rng: random.Random) -> str:
    return in_flight(rig, rng, rig.broker.kill, rig.broker.start)[1]


def target_kill(rig: Rig, rng: random.Random) -> str:
    cell = rng.choice(CELLS)

    def restart() -> None:
        rig.heal(cell)
        rig.start_target(cell)

    return in_flight(rig, rng, lambda: rig.kill_target(cell), restart)[1]


def partition(rig: Rig, rng: random.Random) -> str:
    cells = rng.sample(CELLS, rng.randrange(1, len(CELLS)))

    def cut() -> None:
        for cell in cells:
            rig.cut(cell)

    def mend() -> None:
        for cell in cells:
            rig.heal(cell)

    return in_flight(rig, rng, cut, mend)[1]


def server_restart(rig: Rig, rng: random.Random) -> str:
    """The dispatcher dies in the middle of a commit; the gate comes back on the stored state."""
    policy = rig.policy(rng)
    sending = threading.Thread(target=lambda: _ignore(lambda: rig.submit(policy)), daemon=True)
    sending.start()
    time.sleep(rng.random() * 0.1)
    rig.dispatcher.close()
    sending.join(timeout=10)
    rig.store.close()
    rig.open_server()
    rig.gate.resume()
    return ""


def duplicates(rig: Rig, rng: random.Random) -> str:
    """Old and current documents come again, in any order, on top of what is retained."""
    rig.submit(rig.policy(rng))
    old = list(rig.dispatcher.documents())
    rig.submit(rig.policy(rng))
    again = old * 2 + list(rig.dispatcher.documents())
    rng.shuffle(again)

    async def send() -> None:
        async with BrokerAddress(port=rig.broker.port).client(f"noise-{rng.random()}") as client:
            for document in again:
                await client.publish(f"edgewright/v1/cells/{document.cell}/desired", document.model_dump_json(), qos=1)

    asyncio.run(send())
    return ""


def clock_jump(rig: Rig, rng: random.Random) -> str:
    """An approval must not outlive its term however the clock jumps."""
    rig.clock_skew_s = rng.uniform(-86_400, 86_400)
    rig.submit(rig.policy(rng))
    rig.clock_skew_s = 0.0
    return ""


def disk_full(rig: Rig, rng: random.Random) -> str:
    """The database may not grow for a while: what is answered is kept, what is not kept is refused."""
    path = f"{rig.folder}/full-{rng.randrange(10**9)}.db"
    kept: set[str] = set()
    with Store.open(f"sqlite:///{path}") as store:

        def limit(pages: int) -> None:
            store.write(lambda t: t.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}") and None)

        pages = store.read(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
        limit(int(pages) + rng.randrange(1, 4))
        refused = 0
        for number in range(60):
            try:
                store.write(lambda t, n=number: set_switch(t, f"s{n}", {"text": "x" * 500}, actor="chaos"))
                kept.add(f"s{number}")
            except StoreUnusable:
                refused += 1
        limit(1_000_000)
        store.write(lambda t: set_switch(t, "after", {}, actor="chaos"))
        found = set(store.read(load_switches)) - {"after"}
        if found != kept or not refused or not store.read(verify_trail).is_intact:
            return f"kept {len(found)} of {len(kept)} after {refused} refusals"
    return ""


def server_kill(rig: Rig, rng: random.Random) -> str:
    """A writer is killed under a stream of PUTs: every one that was answered is there after the restart."""
    database = f"{rig.folder}/kill-{rng.randrange(10**9)}.db"
    code = "import sys; from benchmarks.chaos import write_until_killed; write_until_killed(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, database], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(rng.random() * 0.5)
    process.send_signal(signal.SIGKILL)
    answered = {
        line.strip() for line in [first, *process.stdout.read().splitlines(keepends=True)] if line.endswith("\n")
    }
    process.wait()
    with Store.open(f"sqlite:///{database}") as store:
        lost = answered - set(store.read(load_switches))
        if lost or not store.read(verify_trail).is_intact:
            return f"{len(lost)} of {len(answered)} answered writes are lost"
    return ""


def write_until_killed(database: str) -> None:
    """Several writers; each says what was kept as soon as it was."""
    store = Store.open(f"sqlite:///{database}")

    def write(which: int) -> None:
        number = 0
        while True:
            name = f"w{which}-{number}"
            store.write(partial(set_switch, name=name, document={"n": number}, actor="chaos"))
            os.write(1, f"{name}\n".encode())
            number += 1

    threads = [threading.Thread(target=write, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()


FAULTS: dict[str, Callable[[Rig, random.Random], str]] = {
    "broker killed": broker_kill,
    "target killed": target_kill,
    "partition": partition,
    "server restarted in mid-commit": server_restart,
    "duplicated and reordered messages": duplicates,
    "clock jump": clock_jump,
    "disk full": disk_full,
    "writer killed (-9)": server_kill,
}


def judge(rig: Rig, kind: str, note: str) -> Verdict:
    healed_after_s = rig.settles()
    latest = rig.gate.policy_in_force
    stored = None if latest is None else rig.store.read(lambda c: find_policy(c, latest.version))
    known = (PolicyStatus.ENFORCED, PolicyStatus.NOT_ENFORCED, PolicyStatus.ABORTED, PolicyStatus.DISPATCHING)
    num_lost = int(latest is not None and (stored is None or stored.status not in known))
    num_lost += int(note.endswith("lost") or note.startswith("kept"))
    return Verdict(
        kind=kind,
        is_consistent=healed_after_s is not None and not note.endswith("hangs"),
        num_lost=num_lost,
        is_trail_intact=rig.store.read(verify_trail).is_intact,
        healed_after_s=round(HEALED_WITHIN_S if healed_after_s is None else healed_after_s, 2),
        note=note if healed_after_s is not None else f"in force {rig.in_force()}, wanted {rig.wanted()} {note}",
    )


def _ignore(work: Callable[[], None]) -> None:
    # The dispatcher was closed under this thread; whatever it raises is the fault itself.
    with contextlib.suppress(BaseException):
        work()


def table(verdicts: list[dict[str, object]]) -> list[dict[str, object]]:
    rows = []
    for kind in FAULTS:
        of_kind = [verdict for verdict in verdicts if verdict["kind"] == kind]
        if of_kind:
            rows.append(
                {
                    "fault": kind,
                    "injected": len(of_kind),
                    "inconsistent": sum(not verdict["is_consistent"] for verdict in of_kind),
                    "lost": sum(int(str(verdict["num_lost"])) for verdict in of_kind),
                    "trails_broken": sum(not verdict["is_trail_intact"] for verdict in of_kind),
                    "longest_to_settle_s": max(float(str(verdict["healed_after_s"])) for verdict in of_kind),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("chaos.jsonl"))
    parser.add_argument("--resume", action="store_true", help="go on where the state file ends")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    done: list[dict[str, object]] = []
    if arguments.resume and arguments.state.exists():
        done = [json.loads(line) for line in arguments.state.read_text().splitlines()]
    elif arguments.state.exists():
        arguments.state.unlink()
    kinds = list(FAULTS)
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        try:
            for number in range(len(done), arguments.faults):
                rng = random.Random(f"{arguments.seed}/{number}")
                kind = kinds[number % len(kinds)]
                verdict = judge(rig, kind, FAULTS[kind](rig, rng))
                row = {name: getattr(verdict, name) for name in Verdict.__slots__}
                done.append(row)
                with arguments.state.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{number + 1}/{arguments.faults} {row}", file=sys.stderr)
        finally:
            rig.close()
    rows = table(done)
    holds = all(row["inconsistent"] == row["lost"] == row["trails_broken"] == 0 for row in rows)
    document = {"faults": len(done), "target": "0 inconsistent, 0 lost, 0 trails broken", "holds": holds, "table": rows}
    print(json.dumps(document) if arguments.json else "\n".join(map(str, rows)))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()

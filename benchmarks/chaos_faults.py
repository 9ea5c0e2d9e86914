"""The faults, each struck at a random moment of a commit and healed; each says what it found wrong by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agent.errors import StoreUnusable
from agent.store.audit_trail import verify_trail
from agent.store.sessions import load_switches, set_switch
from agent.store.store import Store
from benchmarks.chaos_rig import CELLS, TRIAL_S, Rig
from telemetry_sim.mqtt_target import BrokerAddress

ROOT = Path(__file__).parents[1]
_FIRST_ANSWER_WITHIN_S = 120.0


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


def silence(rig: Rig, rng: random.Random) -> str:
    """Messages to and from some targets are lost, and no connection says so."""
    cells = rng.sample(CELLS, rng.randrange(1, len(CELLS)))

    def deafen() -> None:
        for cell in cells:
            rig.deafen(cell)

    def mend() -> None:
        for cell in cells:
            rig.heal(cell)

    return in_flight(rig, rng, deafen, mend)[1]


def server_kill(rig: Rig, rng: random.Random) -> str:
    """The server's process is killed while it sends one policy after the other; another takes its place."""
    rig.close_server()
    code = "import sys; from benchmarks import chaos_rig; chaos_rig.submit_until_killed(*sys.argv[1:])"
    said = _killed(code, str(rig.folder), str(rig.broker.port), str(rng.randrange(10**9)), within_s=rng.random() * 2.0)
    enforced = [int(line.split()[1]) for line in said if line.startswith("enforced")]
    rig.open_server()
    rig.gate.resume()
    if not said:
        return f"no policy was answered within {_FIRST_ANSWER_WITHIN_S:g} s: it hangs"
    newest = rig.gate.desired.version
    return f"version {enforced[-1]} was enforced, {newest} is known: lost" if enforced and newest < enforced[-1] else ""


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
                await client.publish(f"edgewright/v1/cells/{document.cell}/desired", document.model_dump_json())

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


def writer_kill(rig: Rig, rng: random.Random) -> str:
    """A writer is killed under a stream of PUTs: every one that was answered is there after the restart."""
    database = f"{rig.folder}/kill-{rng.randrange(10**9)}.db"
    code = "import sys; from benchmarks.chaos_faults import write_until_killed; write_until_killed(sys.argv[1])"
    answered = set(_killed(code, database, within_s=rng.random() * 0.5))
    with Store.open(f"sqlite:///{database}") as store:
        lost = answered - set(store.read(load_switches))
        if lost or not store.read(verify_trail).is_intact:
            return f"{len(lost)} of {len(answered)} answered writes are lost"
    return ""


def _killed(code: str, *arguments: str, within_s: float) -> list[str]:
    """The whole lines that a process printed until it was killed, some time after the first of them."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    assert process.stdout is not None
    is_heard, _, _ = select.select([process.stdout], [], [], _FIRST_ANSWER_WITHIN_S)
    first = process.stdout.readline() if is_heard else ""
    time.sleep(within_s)
    process.send_signal(signal.SIGKILL)
    lines = [first, *process.stdout.read().splitlines(keepends=True)]
    process.wait()
    process.stdout.close()
    return [line.strip() for line in lines if line.endswith("\n")]


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
    "writer killed (-9)": writer_kill,
    "messages lost in silence": silence,
    "server killed (-9)": server_kill,
}


def _ignore(work: Callable[[], None]) -> None:
    # The dispatcher was closed under this thread; whatever it raises is the fault itself.
    with contextlib.suppress(BaseException):
        work()

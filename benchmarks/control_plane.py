"""What the control plane costs and holds: start, gate, REST, store and fan-out, each beside its target.

.venv/bin/python benchmarks/control_plane.py --json

Every limit that a figure is compared with (bare FastAPI, fsync rate) is measured in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.control_plane_fan_out import measure_fan_out  # noqa: E402 (the path comes first)
from benchmarks.control_plane_figures import figure  # noqa: E402 (the path comes first)
from tests.service_fixtures import free_port  # noqa: E402 (the path comes first)

POLICIES = "/A1-P/v2/policytypes/ORAN_SliceSLATarget_1.0.0/policies"
BARE_APP = """
import sys
from typing import Annotated
import uvicorn
from fastapi import FastAPI, Path
from starlette.responses import Response
app = FastAPI()
Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9._~:@+,=-]{1,128}$")]
@app.get("/A1-P/v2/policytypes/{policyTypeId}/policies/{policyId}")
async def read(policyTypeId: Id, policyId: Id) -> Response:
    return Response(sys.argv[2], media_type="application/json")
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", access_log=False)
"""


def body(rate: int = 5000) -> bytes:
    slice_id = {"sst": 2, "sd": "000001", "plmnId": {"mcc": "001", "mnc": "01"}}
    return json.dumps({"scope": {"sliceId": slice_id}, "sliceSlaObjectives": {"guaDlThptPerSlice": rate}}).encode()


class Connection:
    """One keep-alive HTTP/1.1 connection, with as little of its own as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def request(self, method: str, path: str, content: bytes = b"") -> int:
        headers = f"host: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + content)
        raw = await self._reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in raw.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length:
            await self._reader.readexactly(length)
        return int(raw[9:12])

    def close(self) -> None:
        self._writer.close()


@contextlib.contextmanager
def server(folder: Path, *extra: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """`edgewright serve` on a store in the folder; its port and process."""
    code = "from api.commands import serve; serve()"
    store = f"sqlite:///{folder}/bench.db"
    command = [
        sys.executable,
        "-c",
        code,
        "--port",
        "0",
        "--json",
        "--store",
        store,
        "--devices",
        "60",
        "--pace",
        "3600",
        # What is measured is the server, not the limit that it sets to a caller.
        "--rate-limit",
        "1000000",
    ]
    process = subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1]), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextlib.contextmanager
def bare_server() -> Iterator[tuple[int, int]]:
    """Port and process id."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE_APP, str(port), body().decode()], cwd=ROOT)
    try:
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


async def wait_ready(port: int, path: str = "/healthz") -> None:
    """Until the server answers; for /readyz, until it says that it is ready."""
    while True:
        with contextlib.suppress(OSError):
            connection = await Connection.open(port)
            status = await connection.request("GET", path)
            connection.close()
            if path == "/healthz" or status == 200:
                return
        await asyncio.sleep(0.01)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int | str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure_start(folder: Path) -> list[dict[str, object]]:
    wall_s, spent_s, _ = start(folder)
    *_, loads_torch = start(folder, "--planner", "optimiser")
    return [
        figure("start to first answer [s]", wall_s, "<= 1.5", wall_s <= 1.5),
        figure("start to first answer, CPU [s]", spent_s, "<= 1.5", spent_s <= 1.5),
        figure("torch is loaded with --planner optimiser", loads_torch, "false", not loads_torch),
    ]


def start(folder: Path, *extra: str) -> tuple[float, float, bool]:
    """Seconds and CPU seconds to a new server's first answer, and whether torch is loaded by then."""
    began = time.perf_counter()
    with server(folder, *extra) as (port, process):
        asyncio.run(wait_ready(port))
        return (
            time.perf_counter() - began,
            cpu_s(process.pid),
            "libtorch" in Path(f"/proc/{process.pid}/maps").read_text(),
        )


def measure_fuzz(num_plans: int) -> list[dict[str, object]]:
    from tests.property.agent.test_gate_model import run_fuzz

    began = time.perf_counter()
    counts = run_fuzz(num_plans, seed=1)
    elapsed_s = time.perf_counter() - began
    return [
        figure(f"breaches at the dispatcher in {num_plans} plans", counts["breaches"], "0", counts["breaches"] == 0),
        figure("plans that passed", counts["dispatched"], "> 0", counts["dispatched"] > 0),
        figure("plans through the gate [1/s]", num_plans / elapsed_s, "reported", True),
    ]


async def pace(port: int, *, per_s: float, seconds: float) -> list[float]:
    """Latencies in ms at a steady rate, 80 % reads, over enough connections."""
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(16):
        free.put_nowait(await Connection.open(port))
    latencies: list[float] = []

    async def one(number: int, due_s: float) -> None:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        connection = await free.get()
        if number % 5 == 0:
            await connection.request("PUT", f"{POLICIES}/p{number % 50}", body(number))
        else:
            await connection.request("GET", f"{POLICIES}/p{number % 50}")
        latencies.append(1000 * (time.perf_counter() - due_s))
        free.put_nowait(connection)

    start_s = time.perf_counter() + 0.2
    await asyncio.gather(*(one(i, start_s + i / per_s) for i in range(int(per_s * seconds))))
    return latencies


async def flood(port: int, seconds: float, call: Callable[[Connection, int], Awaitable[int]], num: int = 16) -> float:
    """Answers a second with so many callers at once."""
    stop_s = time.perf_counter() + seconds
    count = 0

    async def caller(which: int) -> None:
        nonlocal count
        connection = await Connection.open(port)
        number = which
        while time.perf_counter() < stop_s:
            status = await call(connection, number)
            assert status < 300, status
            count += 1
            number += num
        connection.close()

    began_s = time.perf_counter()
    await asyncio.gather(*(caller(which) for which in range(num)))
    return count / (time.perf_counter() - began_s)


def fsync_rate(folder: Path, seconds: float = 2.0) -> float:
    path = folder / "fsync.bin"
    count, stop_s = 0, time.perf_counter() + seconds
    with path.open("wb") as file:
        while time.perf_counter() < stop_s:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            count += 1
    path.unlink()
    return count / seconds


def measure_rest(folder: Path, seconds: float) -> list[dict[str, object]]:
    async def get(connection: Connection, number: int) -> int:
        del number
        return await connection.request("GET", f"{POLICIES}/p0")

    async def put(connection: Connection, number: int) -> int:
        return await connection.request("PUT", f"{POLICIES}/p{number % 64}", body(number))

    ours, bare = Load(), Load()
    with server(folder) as (port, process), bare_server() as (bare_port, bare_pid):
        # The first interval compiles the simulator; it must not run beside what is measured.
        asyncio.run(wait_ready(port, "/readyz"))
        asyncio.run(wait_ready(bare_port))
        asyncio.run(flood(port, 0.5, put))
        for _ in range(3):
            bare.add(bare_pid, flood(bare_port, seconds, get), seconds)
            ours.add(process.pid, flood(port, seconds, get), seconds)
        latencies = sorted(asyncio.run(pace(port, per_s=200, seconds=max(5.0, seconds))))
        fsyncs = fsync_rate(folder)
        puts = Load()
        puts.add(process.pid, flood(port, seconds, put, num=64), seconds)
    ratio = statistics.median(ours.rates) / statistics.median(bare.rates)
    by_cpu = ours.per_cpu_s() / bare.per_cpu_s()
    p95 = latencies[int(0.95 * len(latencies))]
    put_rate = puts.rates[0]
    return [
        figure("A1 p95 at 200 requests a second [ms]", p95, "<= 20", p95 <= 20),
        figure("GET throughput over bare FastAPI", ratio, ">= 0.8", ratio >= 0.8),
        figure("the same by the servers' CPU seconds", by_cpu, ">= 0.8", by_cpu >= 0.8),
        figure("GETs a second of the server's CPU", ours.per_cpu_s(), "reported", True),
        figure("fsync rate of this disk [1/s]", fsyncs, "reported", True),
        figure("durable PUTs, 64 callers [1/s]", put_rate, ">= 1000", put_rate >= 1000),
        figure("durable PUTs a second of the server's CPU", puts.per_cpu_s(), ">= 1000", puts.per_cpu_s() >= 1000),
        figure("durable PUTs over fsync rate", put_rate / fsyncs, ">= 0.8", put_rate / fsyncs >= 0.8),
    ]


def measure_memory(folder: Path, num_requests: int) -> list[dict[str, object]]:
    """The server's resident memory over many requests, a fifth of them writes; the first part warms it up."""

    async def mixed(connection: Connection, number: int) -> int:
        if number % 5:
            return await connection.request("GET", f"{POLICIES}/p0")
        return await connection.request("PUT", f"{POLICIES}/p{number % 64}", body(number % 7))

    num_parts, sizes_mib, num_done = 8, [], 0
    with server(folder) as (port, process):
        asyncio.run(wait_ready(port, "/readyz"))
        asyncio.run(flood(port, 1.0, lambda c, n: c.request("PUT", f"{POLICIES}/p{n % 64}", body()), num=64))
        while num_done < num_requests:
            rate = asyncio.run(flood(port, num_requests / num_parts / 1000.0, mixed))
            num_done += int(rate * num_requests / num_parts / 1000.0)
            sizes_mib.append((num_done, rss_mib(process.pid)))
    begin, end = sizes_mib[len(sizes_mib) // 4], sizes_mib[-1]
    slope_mib = (end[1] - begin[1]) / max(1, end[0] - begin[0]) * 1e6
    return [
        figure(
            f"memory growth over {num_done} requests [MiB]",
            end[1] - sizes_mib[0][1],
            "<= 5",
            end[1] - sizes_mib[0][1] <= 5,
        ),
        figure("the slope, for a million requests [MiB]", slope_mib, "<= 20", slope_mib <= 20),
    ]


class Load:
    """What floods of requests came to, by the clock and by the CPU seconds of the process that served them."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.count = 0.0
        self._spent_s = 0.0

    def add(self, pid: int, flooding: Coroutine[None, None, float], seconds: float) -> None:
        before_s = cpu_s(pid)
        self.rates.append(asyncio.run(flooding))
        self.count += self.rates[-1] * seconds
        self._spent_s += cpu_s(pid) - before_s

    def per_cpu_s(self) -> float:
        return self.count / max(self._spent_s, 0.01)


def measure_commits(folder: Path, seconds: float) -> list[dict[str, object]]:
    """Durable commits of the store itself, one writer and many."""
    from agent.store.sessions import set_switch
    from agent.store.store import Store

    fsyncs = fsync_rate(folder)
    rates = {}
    with Store.open(f"sqlite:///{folder}/commits.db") as store:
        for num_writers in (1, 64):
            counts = [0] * num_writers
            stop_s = time.perf_counter() + seconds

            def write(which: int, counts: list[int] = counts, stop_s: float = stop_s) -> None:
                while time.perf_counter() < stop_s:
                    store.write(lambda t: set_switch(t, f"s{which}", {"n": counts[which]}, actor="bench"))
                    counts[which] += 1

            threads = [threading.Thread(target=write, args=(which,)) for which in range(num_writers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rates[num_writers] = sum(counts) / seconds
    return [
        figure("durable commits, one writer, over fsync rate", rates[1] / fsyncs, ">= 0.8", rates[1] / fsyncs >= 0.8),
        figure("durable commits, 64 writers [1/s]", rates[64], ">= 1000", rates[64] >= 1000),
    ]


def measure_injection(data: Path) -> list[dict[str, object]]:
    """What a lying device moves, and recorded attacks in every string where the recorded set is there."""
    from benchmarks.injection import measure_liar, measure_text, read_attacks

    rows = measure_liar()
    if data.exists():
        rows += measure_text(read_attacks(data))
    return [figure(str(r["figure"]), r["measured"], str(r["target"]), bool(r["holds"])) for r in rows]


def _measured(name: str, measure: Callable[[], list[dict[str, object]]]) -> list[dict[str, object]]:
    """The part's figures; one that fails is a figure that does not hold, and the other parts still come."""
    try:
        return measure()
    except Exception as error:  # noqa: BLE001 (whatever stops a part belongs into its report)
        return [figure(f"{name}: stopped", f"{type(error).__name__}: {error}", "figures", False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plans", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each throughput measurement")
    parser.add_argument("--requests", type=int, default=100_000, help="while memory is watched")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGEWRIGHT_DATA", "../shared/data")))
    parser.add_argument("--only", choices=("start", "fuzz", "rest", "memory", "commits", "fan_out", "injection"))
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    parts = {
        "start": measure_start,
        "rest": lambda folder: measure_rest(folder, arguments.seconds),
        "memory": lambda folder: measure_memory(folder, arguments.requests),
        "commits": lambda folder: measure_commits(folder, arguments.seconds),
        "fan_out": lambda folder: measure_fan_out(folder, arguments.targets),
        "injection": lambda _: measure_injection(arguments.data),
        "fuzz": lambda _: measure_fuzz(arguments.plans),
    }
    for name, measure in parts.items():
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                rows += _measured(name, lambda m=measure, f=folder: m(Path(f)))
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()

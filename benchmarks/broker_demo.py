"""The whole system as separate processes: broker, server, physics and three edge nodes.

Puts a slice SLA policy over A1-P, shows its status go to ENFORCED, kills one edge node (NOT_ENFORCED), starts it again
(ENFORCED). Prints one JSON document with what was seen and when.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

EDGES = ("0", "1", "2,3")
POLICY = "/A1-P/v2/policytypes/ORAN_SliceSLATarget_1.0.0/policies/demo"
BODY = {
    "scope": {"sliceId": {"sst": 2, "sd": "000001", "plmnId": {"mcc": "001", "mnc": "01"}}},
    "sliceSlaObjectives": {"guaDlThptPerSlice": 5000},
}


class Demo:
    """Starts processes, remembers them and ends them."""

    def __init__(self, folder: Path, *, devices: int, pace_s: float) -> None:
        self._folder = folder
        self._devices = devices
        self._pace_s = pace_s
        self._processes: list[subprocess.Popen[str]] = []
        self.port = _free_port()
        self.events: list[dict[str, object]] = []
        self._began_s = time.monotonic()

    def run(self) -> None:
        self._start_broker()
        edges = [self._start_edge(cells) for cells in EDGES]
        self._start_physics()
        url = self._start_server()
        _request("PUT", url + POLICY, BODY)
        self._note("policy put")
        self._wait_for_status(url, "ENFORCED")
        edges[1].send_signal(signal.SIGKILL)
        edges[1].wait()
        self._note("edge of cell 1 killed")
        self._wait_for_status(url, "NOT_ENFORCED")
        self._start_edge(EDGES[1])
        self._note("edge of cell 1 started again")
        self._wait_for_status(url, "ENFORCED")

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_broker(self) -> None:
        binary = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
        if binary is None:
            sys.exit("mosquitto is not installed (.ci/services.sh installs it)")
        config = self._folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._start([binary, "-c", str(config)])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        sys.exit("the broker did not start")

    def _start_edge(self, cells: str) -> subprocess.Popen[str]:
        code = "from edge_preprocess.command_broker import edge_node; edge_node()"
        return self._start_python(code, "--broker", f"127.0.0.1:{self.port}", "--cells", cells)

    def _start_physics(self) -> None:
        code = "from telemetry_sim.command_device import device; device()"
        self._start_python(
            code, "--broker", f"127.0.0.1:{self.port}", "--devices", str(self._devices), "--pace", str(self._pace_s)
        )

    def _start_server(self) -> str:
        options = ["--broker", f"127.0.0.1:{self.port}", "--port", "0", "--json", "--mode", "autonomous"]
        store = f"sqlite:///{self._folder}/demo.db"
        code = "from api.commands import serve; serve()"
        process = self._start_python(code, *options, "--store", store, "--pace", str(self._pace_s))
        assert process.stdout is not None
        url = str(json.loads(process.stdout.readline())["url"])
        self._note(f"server at {url}")
        return url

    def _start_python(self, code: str, *arguments: str) -> subprocess.Popen[str]:
        return self._start([sys.executable, "-c", code, *arguments])

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._processes.append(process)
        return process

    def _wait_for_status(self, url: str, wanted: str, timeout_s: float = 120.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            status = _request("GET", f"{url}{POLICY}/status")
            if status.get("enforceStatus") == wanted:
                self._note(f"status {wanted}")
                return
            time.sleep(0.2)
        sys.exit(f"the status did not become {wanted} within {timeout_s:g} s")

    def _note(self, what: str) -> None:
        event = {"at_s": round(time.monotonic() - self._began_s, 1), "what": what}
        self.events.append(event)
        print(f"{event['at_s']:6.1f} s  {what}", file=sys.stderr)


def _request(method: str, url: str, body: object = None) -> dict[str, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return dict(json.loads(response.read() or b"{}"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--pace", type=float, default=2.0, help="seconds of wall-clock time for an interval")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        demo = Demo(Path(folder), devices=arguments.devices, pace_s=arguments.pace)
        try:
            demo.run()
        finally:
            demo.close()
    print(json.dumps({"events": demo.events}))


if __name__ == "__main__":
    main()

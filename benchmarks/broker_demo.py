"""The whole system as separate processes: broker, server, physics, three edge nodes, three processes of devices.

.venv/bin/python benchmarks/broker_demo.py --json

Every device is an MQTT session of its own. Puts a slice SLA policy over A1-P, shows its status go to ENFORCED, kills
one edge node (NOT_ENFORCED), starts it again (ENFORCED). Prints one JSON document with what was seen and when.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

sys.path.insert(0, str(Path(__file__).parents[1]))

from telemetry_sim.mqtt_protocol import DEVICE_PRESENCE_FILTER, OBEYED_FILTER, ONLINE

NUM_DEVICE_PROCESSES = 3
EDGES = ("0", "1", "2,3")
POLICY = "/A1-P/v2/policytypes/ORAN_SliceSLATarget_1.0.0/policies/demo"
BODY = {
    "scope": {"sliceId": {"sst": 2, "sd": "000001", "plmnId": {"mcc": "001", "mnc": "01"}}},
    "sliceSlaObjectives": {"guaDlThptPerSlice": 5000},
}


class DeviceWatch:
    """Hears which devices are online, and which version each has put into force."""

    def __init__(self, port: int) -> None:
        self.online: set[str] = set()
        self.obeyed: dict[str, int] = {}
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(DEVICE_PRESENCE_FILTER, 1), (OBEYED_FILTER, 1)])
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        del client, userdata
        device = message.topic.split("/")[3]
        if message.topic.endswith("/obeyed"):
            self.obeyed[device] = int(json.loads(message.payload)["version"])
        elif message.payload == ONLINE:
            self.online.add(device)
        else:
            self.online.discard(device)


class Demo:
    """Starts processes, remembers them and ends them."""

    def __init__(self, folder: Path, *, devices: int, pace_s: float) -> None:
        self._folder = folder
        self._devices = devices
        self._pace_s = pace_s
        self._watch: DeviceWatch | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self.port = _free_port()
        self.events: list[dict[str, object]] = []
        self._began_s = time.monotonic()

    def run(self) -> None:
        self._start_broker()
        self._watch = watch = DeviceWatch(self.port)
        edges = [self._start_edge(cells) for cells in EDGES]
        self._start_devices()
        self._wait_for(lambda: len(watch.online) == self._devices, f"{self._devices} devices online")
        self._start_physics()
        url = self._start_server()
        _request("PUT", url + POLICY, BODY)
        self._note("policy put")
        self._wait_for_status(url, "ENFORCED")
        self._wait_for(lambda: len(watch.obeyed) >= 0.9 * self._devices, "nine devices in ten obey a policy")
        edges[1].send_signal(signal.SIGKILL)
        edges[1].wait()
        self._note("edge of cell 1 killed")
        self._wait_for_status(url, "NOT_ENFORCED")
        self._start_edge(EDGES[1])
        self._note("edge of cell 1 started again")
        self._wait_for_status(url, "ENFORCED")

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
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
        options = ["--devices", str(self._devices), "--pace", str(self._pace_s), "--apart"]
        self._start_python(code, "--broker", f"127.0.0.1:{self.port}", *options)

    def _start_devices(self) -> None:
        code = "from telemetry_sim.command_device import device; device()"
        edges = [round(part * self._devices / NUM_DEVICE_PROCESSES) for part in range(NUM_DEVICE_PROCESSES + 1)]
        for first, end in itertools.pairwise(edges):
            self._start_python(code, "--broker", f"127.0.0.1:{self.port}", "--ids", f"{first}-{end - 1}")

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

    def _wait_for_status(self, url: str, wanted: str) -> None:
        status_url = f"{url}{POLICY}/status"
        self._wait_for(lambda: _request("GET", status_url).get("enforceStatus") == wanted, f"status {wanted}")

    def _wait_for(self, is_true: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if is_true():
                self._note(what)
                return
            time.sleep(0.2)
        sys.exit(f"within {timeout_s:g} s it did not come about: {what}")

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
    parser.add_argument("--pace", type=float, default=3.0, help="seconds of wall-clock time for an interval")
    parser.add_argument("--json", action="store_true", help="as it is anyway; asked of every benchmark")
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

"""`edgewright serve` as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.store.audit_trail import verify_trail
from agent.store.store import Store

ROOT = Path(__file__).parents[3]
POLICY = "/A1-P/v2/policytypes/ORAN_SliceSLATarget_1.0.0/policies/p1"
BODY = {
    "scope": {"sliceId": {"sst": 2, "sd": "000001", "plmnId": {"mcc": "001", "mnc": "01"}}},
    "sliceSlaObjectives": {"guaDlThptPerSlice": 5000},
}


@contextmanager
def serving(folder: Path, how_it_ends: signal.Signals, *options: str) -> Iterator[str]:
    code = "from api.commands import serve; serve()"
    store = f"sqlite:///{folder}/store.db"
    command = [sys.executable, "-c", code, "--port", "0", "--json", "--devices", "40", "--store", store, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(how_it_ends)
        status = process.wait(timeout=60)
        process.stdout.close()
    assert status == (0 if how_it_ends is signal.SIGTERM else -how_it_ends)


def call(method: str, url: str, body: object = None) -> tuple[int, object]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.slow
@pytest.mark.parametrize("how_it_ends", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_picks_up_exactly_where_it_stopped(tmp_path, how_it_ends):
    with serving(tmp_path, how_it_ends) as url:
        assert call("PUT", url + POLICY, BODY) == (201, BODY)
        assert call("GET", url + POLICY)[1] == BODY
    with serving(tmp_path, signal.SIGTERM) as url:
        assert call("GET", url + POLICY) == (200, BODY)
        assert call("PUT", url + POLICY, BODY) == (200, BODY)
        assert call("GET", url + "/nope")[0] == 404
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        assert store.read(verify_trail).is_intact


@pytest.mark.slow
def test_a_server_that_others_can_reach_needs_a_token(tmp_path):
    code = "from agent.command_line import main; import sys; sys.argv = ['edgewright', *sys.argv[1:]]; main()"
    store = f"sqlite:///{tmp_path}/store.db"
    command = [sys.executable, "-c", code, "serve", "--host", "0.0.0.0", "--port", "0", "--store", store]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--new-token" in done.stderr

"""The whole system as separate processes over a real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service_fixtures import find_binary

ROOT = Path(__file__).parents[3]


@pytest.mark.broker
@pytest.mark.slow
def test_an_edge_that_is_killed_and_comes_back_shows_in_the_policys_status():
    if find_binary("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    command = [sys.executable, str(ROOT / "benchmarks" / "broker_demo.py"), "--devices", "60", "--pace", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr
    events = [event["what"] for event in json.loads(done.stdout)["events"]]
    assert "60 devices online" in events
    assert "nine devices in ten obey a policy" in events
    assert [event for event in events if event.startswith("status")] == [
        "status ENFORCED",
        "status NOT_ENFORCED",
        "status ENFORCED",
    ]

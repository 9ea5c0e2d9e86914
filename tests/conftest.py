"""What every test shares: no network, no hub, and the recorded data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pytest_socket import socket_allow_hosts

_ROOT = Path(__file__).resolve().parent.parent

# Set before any test imports transformers: nothing may reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"
# Before torch as well: threads of several workers that spin while they wait take eight times as long on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _only_loopback() -> None:
    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded telemetry, logs and texts; skips where it is missing."""
    folder = Path(os.environ.get("EDGEWRIGHT_DATA", _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"recorded data not found at {folder} (set EDGEWRIGHT_DATA)")
    return folder

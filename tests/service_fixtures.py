"""Fixtures that start real services on loopback: PostgreSQL and an MQTT broker."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_binary(name: str) -> str | None:
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    folders += sorted(str(path) for path in Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name, path=os.pathsep.join(folders))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server of our own, in a throw-away folder; skips where the binaries are missing."""
    initdb, pg_ctl = find_binary("initdb"), find_binary("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (initdb, pg_ctl)")
    folder = Path(tempfile.mkdtemp(prefix="edgewright-pg-", dir="/tmp"))
    user = _unprivileged_user(folder)
    data, port = folder / "data", free_port()
    run = {"user": user, "cwd": folder, "timeout": 60}
    subprocess.run(
        [initdb, "-D", str(data), "-A", "trust", "-U", "edgewright", "-N"], check=True, stdout=subprocess.DEVNULL, **run
    )
    options = f"-p {port} -h 127.0.0.1 -k {folder} -F"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start"], check=True, **quiet, **run
    )
    try:
        yield f"postgresql+psycopg://edgewright@127.0.0.1:{port}/"
    finally:
        subprocess.run([pg_ctl, "-D", str(data), "-m", "immediate", "stop"], check=True, **quiet, **run)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database for one test."""
    import psycopg

    name = f"t{abs(hash(request.node.nodeid))}"
    admin = postgres_server.replace("+psycopg", "") + "postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgres_server + name
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Broker:
    """A mosquitto of our own that can be stopped and started again on the same port."""

    def __init__(self, binary: str, folder: Path, *, saves_every_change: bool = True) -> None:
        self.port = free_port()
        self._binary = binary
        self._config, self._access = folder / "mosquitto.conf", folder / "access.conf"
        self._process: subprocess.Popen[bytes] | None = None
        user = f"user {pwd.getpwuid(os.geteuid()).pw_name}\n"
        self._config.write_text(
            f"{user}listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {folder}/\n"
            + ("autosave_interval 1\nautosave_on_changes true\n" if saves_every_change else "")
            + f"max_queued_messages 10000\nset_tcp_nodelay true\nacl_file {self._access}\n"
        )
        self.deny()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"mosquitto did not listen on port {self.port}")

    def deny(self, *topics: str) -> None:
        """From soon on nobody may publish on these topics, and on any other again."""
        self._access.write_text("".join(f"topic deny {topic}\n" for topic in topics) + "topic readwrite #\n")
        self._access.chmod(0o700)
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)
            time.sleep(0.3)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A running broker on a free loopback port; skips where mosquitto is missing."""
    binary = find_binary("mosquitto")
    if binary is None:
        pytest.skip("mosquitto is not installed")
    running = Broker(binary, tmp_path)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def _unprivileged_user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("nobody")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return "nobody"

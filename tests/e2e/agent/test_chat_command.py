"""`edgewright chat` as a process: one shot, piped, and in a real terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from agent.models.chat_model import EMBEDDED_OPERATOR

_COMMAND = [sys.executable, "-c", "from agent.command_line import main; main()", "chat"]
_NETWORK = ["--planner", "optimiser", "--devices", "40"]
needs_weights = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)


def _run(*arguments: str, home: Path, piped: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    return subprocess.run(
        [*_COMMAND, *_NETWORK, *arguments], input=piped, capture_output=True, timeout=120, check=False, env=environment
    )


@needs_weights
def test_one_shot_gives_answer_calls_and_evidence(tmp_path: Path) -> None:
    done = _run("--once", "which cell is worst right now and why?", "--json", home=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document["tool_calls"][0] == {"tool": "find_worst", "arguments": {"kind": "cell"}}
    assert document["answer"].startswith(f"Cell {document['evidence'][0]['data']['cell']} is worst")


def test_an_empty_request_ends_with_status_two(tmp_path: Path) -> None:
    done = _run("--once", "  ", home=tmp_path)
    assert done.returncode == 2
    assert b"nothing to read" in done.stderr


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = _run("--server", "http://127.0.0.1:9", "--once", "/status", home=tmp_path)
    assert done.returncode == 1
    assert b"127.0.0.1:9" in done.stderr


def test_a_terminal_session_plans_asks_applies_and_rolls_back(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "TERM": "dumb"}
    child = pexpect.spawn(
        _COMMAND[0],
        [*_COMMAND[1:], *_NETWORK, "--session", "shift"],
        env=environment,
        encoding="utf-8",
        timeout=60,
        dimensions=(50, 140),
    )
    child.expect("you>")
    for line, expected in (
        ("/status", "utility"),
        ("/plan", "Plan version 1"),
        ("/frobnicate", "is unknown"),
    ):
        child.sendline(line)
        child.expect(expected)
        child.expect("you>")
    child.sendline("/apply")
    child.expect("forecast")
    child.expect("to agree:")
    child.sendline("no")
    child.expect("Nothing changed")
    child.sendline("/apply")
    child.expect("to agree:")
    child.sendline("yes")
    child.expect("is in force")
    child.sendcontrol("c")
    child.sendline("/rollback")
    child.expect("to agree:")
    child.sendline("yes")
    child.expect("Rolled back to version 0")
    child.sendline("/exit")
    child.expect("Bye")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0

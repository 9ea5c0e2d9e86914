"""`edgewright chat` as a process: one shot, piped, and in a real terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.models.chat_model import EMBEDDED_OPERATOR
from tests.terminal_stage import END_OF_INPUT, Terminal, transcript

_COMMAND = [sys.executable, "-c", "from agent.command_line import main; main()", "chat"]
_NETWORK = ["--planner", "optimiser", "--devices", "40"]
needs_weights = pytest.mark.skipif(
    not (EMBEDDED_OPERATOR / "model.safetensors").is_file(), reason="`edgewright pretrain --task operator` was not run"
)


def _run(*arguments: str, home: Path, piped: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    return subprocess.run(
        [*_COMMAND, *_NETWORK, *arguments], input=piped, capture_output=True, timeout=300, check=False, env=environment
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
    done = _run("--server", "http://127.0.0.1:9", "--once", "status", home=tmp_path)
    assert done.returncode == 1
    assert b"127.0.0.1:9 can't be reached" in done.stderr
    done = _run("--server", "127.0.0.1:9", "--once", "status", home=tmp_path)
    assert done.returncode == 2
    assert b"expected http" in done.stderr


@needs_weights
def test_a_session_keeps_to_its_network(tmp_path: Path) -> None:
    assert _run("--session", "ward", "--scenario", "ehealth", "--once", "/status", home=tmp_path).returncode == 0
    again = _run("--resume", "--once", "/status", home=tmp_path)
    assert b"telesurgery" in again.stdout
    other = _run("--session", "ward", "--scenario", "smart-home", "--once", "/status", home=tmp_path)
    assert other.returncode == 2
    assert b"'ward' is about scenario ehealth, seed 7, devices 40" in other.stderr
    assert b"telesurgery" in _run("--session", "ward", "--once", "/status", home=tmp_path).stdout


def test_a_model_that_is_no_folder_and_no_provider_is_named(tmp_path: Path) -> None:
    done = _run("--model", "/nowhere", "--once", "status", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "Error: model '/nowhere': no such folder; expected a folder, `embedded`, or provider:model[@URL]"
    ]


@needs_weights
def test_a_change_asked_for_in_a_read_only_session_ends_with_status_four(tmp_path: Path) -> None:
    done = _run("--read-only", "--once", "apply the plan", home=tmp_path)
    assert b"read-only" in done.stdout
    assert done.returncode == 4


def test_a_terminal_session_plans_asks_applies_and_rolls_back(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, *_NETWORK, "--session", "shift")
    assert "utility" in terminal.say("/status")
    assert "Plan version 1" in terminal.say("/plan")
    assert "is unknown" in terminal.say("/frobnicate")
    refused = terminal.say("/apply", answers=["no"])
    assert "forecast" in refused
    assert "Nothing changed" in refused
    assert "Nothing changed" in terminal.say("/apply", answers=[END_OF_INPUT])
    assert "is in force" in terminal.say("/apply")
    terminal.interrupt()
    back = terminal.say("/rollback")
    assert "guaranteed PRBs" in back
    assert "Rolled back to version 0" in back
    assert terminal.end() == 0


def test_rubbish_in_a_terminal_is_said_and_the_session_kept(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, *_NETWORK)
    for rubbish in ("", "   ", "\x07\x08", "/", "//", "/whatif down nowhere"):
        terminal.say(rubbish)
    assert "at most 4000" in terminal.say("x" * 4095)
    assert "utility" in terminal.say("/status")
    assert terminal.end() == 0


@needs_weights
@pytest.mark.slow
def test_the_documented_conversation_runs_through(tmp_path: Path) -> None:
    printed = transcript(tmp_path, *_NETWORK)
    for expected in (
        "is worst",
        "Goal set: vehicles within 20 ms",
        "Plan version 1",
        "If cell 1 went down",
        "Version 1 is in force: 4 of 4 cells applied it.",
        "Version 1 is in force at 70 s.",
        "Rolled back to version 0, as version 2.",
        "Version 2 is in force at 110 s.",
    ):
        assert expected in printed
    assert printed.count("Do this? Type yes to agree: yes") == 3


def test_a_bad_line_in_a_pipe_does_not_end_the_others(tmp_path: Path) -> None:
    piped = b"/status\n" + b"x" * 1_000_000 + b"\n\xff\xfe\x00\x01\x02\xff\xff\n/nonsense\n/slices\n"
    done = _run("--json", home=tmp_path, piped=piped)
    documents = json.loads(done.stdout)
    assert done.returncode == 2
    assert [document["exit_status"] for document in documents] == [0, 2, 2, 2, 0]
    assert "1000000 characters" in documents[1]["answer"]
    assert "binary" in documents[2]["answer"]
    assert "/nonsense" in documents[3]["answer"]
    assert documents[4]["tool_calls"][0]["tool"] == "find_worst"

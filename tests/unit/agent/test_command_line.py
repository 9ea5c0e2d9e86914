"""The `edgewright` script: how it ends, and what it says when something is wrong."""

from __future__ import annotations

import sys

import pytest

from agent.command_line import main


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgewright", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_an_unknown_command_ends_with_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "juggle") == 2
    assert "No such command 'juggle'" in capsys.readouterr().err


def test_the_version_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "--version") == 0
    assert "edgewright, version" in capsys.readouterr().out


def test_a_packages_own_error_becomes_a_message_and_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_main(monkeypatch, "run", "--scenario", "atlantis", "--planner", "uniform", "--json", "--no-report")
    captured = capsys.readouterr()

    assert status == 2
    assert captured.out == ""
    assert "scenario 'atlantis' is unknown; scenarios are smart-city" in captured.err
    assert "Traceback" not in captured.err


def test_an_unknown_planner_ends_with_two_and_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "run", "--planner", "oracle", "--no-report") == 2
    assert "planners are llm_gated, llm_raw, do_nothing" in capsys.readouterr().err


def test_an_unused_device_ends_with_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, "run", "--device", "abacus", "--no-report") == 2
    assert "device 'abacus' is unknown" in capsys.readouterr().err

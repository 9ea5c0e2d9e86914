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


def test_the_help_lists_every_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sfl_finetune.interruption import INTERRUPTED

    assert run_main(monkeypatch, "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    for status in ("0 done", "1 a check failed", "5 needs approval", f"{INTERRUPTED} a finetune or casestudy was"):
        assert status in told


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


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--no-report", "--adapter", LONG),
        ("run", "--no-report", "--planner", "uniform", "--goal", LONG),
        ("run", "--planner", "uniform", "--out", LONG),
        ("replay", LONG),
        ("bench", "policies", "--work", LONG),
        ("serve", "--tls-key", LONG),
        ("digest", "logs", LONG),
        ("digest", "signal", LONG),
        ("digest", "trace", LONG),
        ("finetune", "--model", "agent/weights/policy-base", "--corpus", LONG, "--out", "unused"),
        ("finetune", "--model", LONG, "--corpus", "corpus", "--out", "unused"),
        ("merge", "--model", "agent/weights/policy-base", "--adapter", LONG, "--out", "unused"),
        ("simulate", "--positions", LONG),
    ],
)
@pytest.mark.parametrize("fault", ["long", "null"])
def test_a_path_that_no_file_can_have_is_an_error_of_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], fault: str
) -> None:
    given = [("a\0b" if fault == "null" and each == LONG else each) for each in arguments]
    assert run_main(monkeypatch, *given) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "Traceback" not in captured.err


def test_a_path_that_is_too_long_is_told_with_its_beginning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "run", "--no-report", "--adapter", LONG) == 2
    assert f"path '{'n' * 80}…' of 320 characters: File name too long; a name may have 255" in capsys.readouterr().err


def test_any_other_error_of_a_file_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.command_line.cli.main", fail)
    with pytest.raises(OSError, match="No space left"):
        main()

"""Folders to write to are refused before the work, not behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.command_line import main
from agent.errors import AgentInputInvalid
from agent.output_folder import claim_folder


def test_a_new_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    claim_folder("--out", tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_is_there_keeps_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    claim_folder("--out", tmp_path)

    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("place", ["file", "file/below", "file/far/below"])
def test_a_file_in_the_way_is_refused_by_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(AgentInputInvalid, match=f"--out '.*{place}'.*a writable folder was expected"):
        claim_folder("--out", tmp_path / place)


def test_a_folder_that_can_not_be_written_is_refused() -> None:
    with pytest.raises(AgentInputInvalid, match="--work '/proc/self/results'"):
        claim_folder("--work", Path("/proc/self/results"))


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--out", ("run", "--planner", "uniform", "--seeds", "1", "--intervals", "100000")),
        ("--out", ("pretrain", "--work", "{work}")),
        ("--work", ("pretrain", "--out", "{work}")),
        ("--out", ("corpus", "--scenario", "smart-city", "--runs", "10000")),
        ("--work", ("bench", "policies", "--episodes", "100000")),
    ],
)
def test_a_command_tells_at_once_that_its_folder_is_a_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    option: str,
    arguments: tuple[str, ...],
) -> None:
    """The work asked for would take hours, so an answer at all means that it did not begin."""
    (tmp_path / "file").touch()
    filled = [argument.format(work=tmp_path / "work") for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["edgewright", *filled, option, str(tmp_path / "file")])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()

    assert ended.value.code == 2
    assert captured.out == ""
    assert f"Error: {option} '{tmp_path / 'file'}'" in captured.err
    assert "a writable folder was expected" in captured.err

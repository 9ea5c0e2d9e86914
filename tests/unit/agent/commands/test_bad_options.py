"""Options with values that can't be meant: a sentence that names them, never a traceback."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from agent.commands.corpus import corpus
from agent.commands.pretrain import pretrain
from agent.commands.replay import replay
from agent.commands.run import run
from agent.errors import AgentInputInvalid, GoalInvalid

RECORDING = Path(__file__).parents[3] / "replay" / "recordings" / "own.parquet"
HUGE = str(10**30)


def invoke(command: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize(
    ("command", "arguments"), [(run, ("--no-report",)), (replay, (RECORDING,))], ids=["run", "replay"]
)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "got an empty file"),
        (b"\n \n", "got nothing but blanks"),
        (b"{\n", "got '{'"),
        (b"[]", r"got '\[\]'"),
        (b"\xff\xfe", "got 2 bytes that are no text"),
        (b"\x9b", "got 1 byte that is no text"),
        (b"\0\1\2", "got 3 bytes that are no text"),
        (b"\xef\xbb\xbf{}", r"got '\\ufeff\{\}'"),
        (b"[" * 100_000, r"got '\[{120}'"),
    ],
    ids=["empty", "blank", "half", "list", "binary", "one byte", "control", "mark", "nested"],
)
def test_a_goal_file_that_is_none_is_told_in_one_line(
    tmp_path: Path, command: click.Command, arguments: tuple[str | Path, ...], content: bytes, told: str
) -> None:
    path = tmp_path / "goal.json"
    path.write_bytes(content)
    with pytest.raises(GoalInvalid, match=rf"goal file '.*goal\.json': goal: .*{told}$") as error:
        invoke(command, *arguments, "--planner", "uniform", "--goal", path)
    assert "\n" not in str(error.value)
    assert "pydantic" not in str(error.value)


@pytest.mark.parametrize(
    ("command", "arguments"), [(run, ("--no-report",)), (replay, (RECORDING,))], ids=["run", "replay"]
)
def test_a_goal_file_that_can_not_be_opened_is_named(
    tmp_path: Path, command: click.Command, arguments: tuple[str | Path, ...]
) -> None:
    for path in (tmp_path, tmp_path / "missing.json"):
        with pytest.raises(GoalInvalid, match="goal file"):
            invoke(command, *arguments, "--planner", "uniform", "--goal", path)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (replay, (RECORDING, "--planner", "uniform", "--limit", HUGE)),
        (pretrain, ("--out", "weights", "--task", "operator", "--dry-run", "--seed", HUGE)),
    ],
    ids=["replay", "pretrain"],
)
def test_a_number_beyond_use_is_refused_with_its_range(
    command: click.Command, arguments: tuple[str | Path, ...]
) -> None:
    result = invoke(command, *arguments)
    assert (result.exit_code, "is not in the range" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("task", "arguments", "told"),
    [
        ("operator", ("--device", "cuda"), "--device: cuda was given; the operator's model learns on the CPU"),
        ("operator", ("--threads", "2"), "--threads: 2 was given; the operator's model learns on one thread"),
        ("operator", ("--quick", "--steps", "50"), "--steps: 50 was given; --quick takes 300"),
        ("twin", ("--steps", "50"), "--steps: 50 was given; the twin learns for a fixed time"),
        ("twin", ("--device", "auto"), "--device: auto was given; the twin is fitted on the CPU"),
        ("twin", ("--work", "w"), "--work: w was given; the twin is fitted in one go"),
    ],
)
def test_an_option_that_a_task_has_no_use_for_is_refused(task: str, arguments: tuple[str, ...], told: str) -> None:
    result = invoke(pretrain, "--task", task, "--dry-run", *arguments)
    assert result.exit_code == 2
    assert f"Invalid value for {told}" in result.stderr


def test_a_corpus_that_can_not_be_put_in_its_place_names_it(tmp_path: Path) -> None:
    (tmp_path / "smart-home.jsonl").mkdir()
    with pytest.raises(AgentInputInvalid, match=r"--out '.*smart-home\.jsonl': Is a directory"):
        invoke(
            corpus, "--scenario", "smart-home", "--devices", 4, "--runs", 1, "--intervals", 2, "--variants", 1,
            "--out", tmp_path,
        )  # fmt: skip


def test_planners_that_use_no_adapter_are_not_run_as_if_they_did(tmp_path: Path) -> None:
    with pytest.raises(AgentInputInvalid, match=r"llm_raw: none of them uses --adapter .*; llm_tuned_gated and"):
        invoke(run, "--no-report", "--adapter", tmp_path, "--planner", "llm_raw")

"""`edgewright digest logs`: rows, report, state and streams."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_preprocess.commands import digest
from edge_preprocess.errors import SourceUnreadable, StateUnreadable

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida"]
LINES = [
    *(f"Jan  3 04:05:{number:02d} edge-7 door[3]: opened by {name} today" for number, name in enumerate(NAMES)),
    "Jan  3 04:06:00 edge-7 door[3]: battery low, 3.1 V",
]
RAW = "\r\n".join(LINES).encode() + b"\n\xff\xfe\n\x00\nlast line without an end"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "some.log"
    path.write_bytes(RAW)
    return path


def run(*arguments: str, stdin: bytes | None = None) -> str:
    result = CliRunner().invoke(digest, ["logs", *arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def read_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_there_is_one_row_per_line_with_the_templates_as_known_at_the_end(log: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    run(str(log), "--rows", str(target))
    rows = read_rows(target.read_text(encoding="utf-8"))
    assert [int(row["line"]) for row in rows] == list(range(1, len(LINES) + 4))
    assert list(rows[0]) == ["line", "template_id", "template", "parameters"]
    assert {row["template"] for row in rows[: len(NAMES)]} == {"opened by <*> today"}
    assert [json.loads(row["parameters"]) for row in rows[:2]] == [[["word", "ada"]], [["word", "bob"]]]
    assert [row["template_id"] for row in rows[-3:-1]] == ["quarantined:invalid_utf8", "quarantined:nul_byte"]
    assert rows[-1]["template"] == "last line without an end"


def test_the_json_report_is_one_document_that_adds_up(log: Path) -> None:
    report = json.loads(run(str(log), "--json"))
    lines = report["lines"]
    assert lines["received"] == len(LINES) + 3 == lines["accepted"] + sum(lines["quarantined"].values())
    assert report["counters"] == {"battery_low": 1}
    assert report["num_templates"] == len(report["templates"]) == 3
    assert sum(template["count"] for template in report["templates"]) == lines["accepted"]


def test_the_tables_name_counters_and_templates(log: Path) -> None:
    shown = run(str(log))
    assert "battery_low 1" in shown
    assert "invalid_utf8 1" in shown
    assert "opened by" in shown


def test_a_stream_shows_new_templates_as_they_come_and_then_the_report() -> None:
    shown = run("-", stdin=RAW)
    assert shown.startswith("new t1-")
    assert shown.count("new t1-") >= 3
    assert "13 lines, 11 accepted" in shown


def test_rows_of_a_stream_can_go_to_the_standard_output() -> None:
    rows = read_rows(run("-", "--rows", "-", stdin=RAW))
    assert len(rows) == len(LINES) + 3


def test_what_was_learned_is_taken_up_again(log: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    run(str(log), "--state", str(state))
    again = json.loads(run(str(log), "--state", str(state), "--json"))
    assert not any(template["is_new"] for template in again["templates"])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match=r"none\.log"):
        run(str(tmp_path / "none.log"))


def test_a_file_without_one_readable_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\x00\n" * 5)
    with pytest.raises(SourceUnreadable, match="none of 5 lines"):
        run(str(path))


def test_a_line_that_is_only_too_long_is_told_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    path.write_bytes(b"a" * 20_000 + b"\n")
    with pytest.raises(SourceUnreadable, match=r"\(too_long 1\), allowed are lines of .* at most 16384 bytes"):
        run(str(path))


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"version": 9}', "[" * 100_000])
def test_damaged_state_is_refused(log: Path, tmp_path: Path, damaged: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(damaged, encoding="utf-8")
    with pytest.raises(StateUnreadable):
        run(str(log), "--state", str(state))
    assert state.read_text(encoding="utf-8") == damaged


def test_an_empty_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path, rows, state = (tmp_path / name for name in ("empty.log", "rows.csv", "state.json"))
    path.touch()
    with pytest.raises(SourceUnreadable, match=r"empty\.log': is empty; expected a file with at least one line"):
        run(str(path), "--json", "--rows", str(rows), "--state", str(state))
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_that_brings_nothing_is_a_log_without_lines() -> None:
    lines = json.loads(run("-", "--json"))["lines"]
    assert lines == {"received": 0, "accepted": 0, "quarantined": {}, "cleaned": {}}

"""No command replaces what it reads, or one of its own files by another."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from edge_preprocess.commands import digest
from edge_preprocess.errors import SourceUnreadable

_LOG = "Jan  3 04:05:06 edge-7 door[3]: opened by ada today\n" * 3
_SIGNAL = "timestamp,value\n0,1.0\n1,2.0\n"
_TRACE = "time_s,device_id,served_bits\n1,a,10\n2,a,20\n"
_KEY = "0123456789abcdef"


@pytest.fixture
def files(tmp_path):
    """One of each kind; `again` names the log in two other ways."""
    for name, text in {"a.log": _LOG, "a.csv": _SIGNAL, "trace.csv": _TRACE, "site.key": _KEY}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "again").symlink_to(tmp_path / "a.log")
    os.link(tmp_path / "a.log", tmp_path / "hard")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "part.csv").write_text(_TRACE)
    return tmp_path


def _run(folder, arguments):
    given = [a if a.startswith("-") or a in {"logs", "signal", "trace"} else str(folder / a) for a in arguments.split()]
    return CliRunner().invoke(digest, given)


@pytest.mark.parametrize(
    "arguments",
    [
        "logs a.log --rows a.log",
        "logs a.log --rows again",
        "logs a.log --rows hard",
        "logs a.log --rows kept/../a.log",
        "logs a.log --state a.log",
        "logs a.log --site-key a.log",
        "logs a.log --rows site.key --site-key site.key",
        "logs a.log --state site.key --site-key site.key",
        "logs a.log --rows new --state new",
        "signal a.csv --rows a.csv",
        "trace trace.csv --rows trace.csv",
        "trace kept --rows kept/part.csv",
    ],
)
def test_a_file_given_twice_is_refused_and_left_as_it_is(files, arguments):
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    result = _run(files, arguments)
    assert isinstance(result.exception, SourceUnreadable)
    assert result.exception.exit_status == 2
    assert "is the same file as" in str(result.exception)
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        "logs a.log --rows new --state state --site-key site.key",
        "logs a.log --rows /dev/null --state state",
        "signal a.csv --rows a.log",
        "trace trace.csv --rows new",
    ],
)
def test_files_that_differ_are_taken(files, arguments):
    result = _run(files, arguments)
    assert result.exit_code == 0, result.output

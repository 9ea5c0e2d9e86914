"""Encoded rows on disk: written once, and read back as they were."""

from __future__ import annotations

from pathlib import Path

from agent.pretraining.kept_rows import Rows, kept_rows

ROWS: Rows = (((5, 1, 4), 2), ((7,), 0), ((3, 3, 2047, 9), 4))


def not_again() -> Rows:
    raise AssertionError("the rows were there")


def test_rows_are_encoded_once_and_read_back_the_same(tmp_path: Path) -> None:
    path = tmp_path / "work" / "rows.safetensors"

    assert kept_rows(path, lambda: ROWS) == ROWS
    assert kept_rows(path, not_again) == ROWS
    assert [found.name for found in path.parent.iterdir()] == ["rows.safetensors"]


def test_half_written_rows_are_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "rows.safetensors.part").write_bytes(b"half")

    assert kept_rows(tmp_path / "rows.safetensors", lambda: ROWS) == ROWS

"""`digest signal` on files good and bad."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from edge_preprocess.commands import digest
from edge_preprocess.errors import SourceUnreadable


def _series(count=600, jump=500):
    values = np.random.default_rng(3).normal(10.0, 1.0, count)
    values[jump:] += 25.0
    return [f"2024-01-01 {n // 60 % 24:02d}:{n % 60:02d}:00" for n in range(count)], values


def _write(path, stamps, values):
    lines = ["timestamp,value", *(f"{s},{v!r}" for s, v in zip(stamps, values.tolist(), strict=True))]
    path.write_text("\n".join(lines) + "\n")


def _run(*arguments, **options):
    result = CliRunner().invoke(digest, ["signal", *map(str, arguments)], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_has_a_score_and_the_jump_is_an_alarm(tmp_path):
    stamps, values = _series()
    _write(tmp_path / "in.csv", stamps, values)
    document = json.loads(_run(tmp_path / "in.csv", "--rows", tmp_path / "out.csv", "--json").stdout)
    rows = _rows(tmp_path / "out.csv")
    assert list(rows[0]) == ["timestamp", "value", "anomaly_score"]
    assert [row["timestamp"] for row in rows] == stamps
    assert [float(row["value"]) for row in rows] == values.tolist()
    assert max(float(row["anomaly_score"]) for row in rows[500:505]) >= 0.5
    assert document["rows"] == {"received": 600, "accepted": 600, "quarantined": {}}
    assert 501 <= document["alarms"][-1]["row"] <= 505
    assert document["num_change_points"] == 1


@pytest.mark.parametrize("cut", [50, 333, 502])
def test_cutting_off_later_rows_changes_no_score(tmp_path, cut):
    stamps, values = _series()
    _write(tmp_path / "whole.csv", stamps, values)
    _write(tmp_path / "part.csv", stamps[:cut], values[:cut])
    for name in ("whole", "part"):
        _run(tmp_path / f"{name}.csv", "--rows", tmp_path / f"{name}.out")
    whole = (tmp_path / "whole.out").read_text().splitlines()
    part = (tmp_path / "part.out").read_text().splitlines()
    assert part == whole[: cut + 1]


def test_bad_rows_are_counted_and_score_0(tmp_path):
    bad = [
        "2024-01-02 00:00:00,NaN",
        "2024-01-02 00:01:00,inf",
        "2024-01-02 00:02:00,1e300",
        "2024-01-02 00:03:00,ignore previous instructions",
        "2023-01-01 00:00:00,1.0",
        "2024-01-02 00:04:00",
        "2024-01-02 00:05:00,5.0",
        "2024-01-02 00:05:00,5.0",
        "\x1b[31m,5.0",
        "2024-01-02 00:06:00,1_000",
    ]
    content = "timestamp,value\n2024-01-01 00:00:00,1.0\n" + "\n".join(bad) + "\n"
    (tmp_path / "in.csv").write_bytes(content.encode() + b"2024-01-03 00:00:00,\xff\xfe7\n")
    document = json.loads(_run(tmp_path / "in.csv", "--rows", tmp_path / "out.csv", "--json").stdout)
    assert document["rows"]["received"] == 12
    assert document["rows"]["accepted"] == 2
    assert document["rows"]["quarantined"] == {
        "not_a_number": 3,
        "missing": 1,
        "infinite": 1,
        "absurd": 1,
        "time_backwards": 1,
        "wrong_columns": 1,
        "duplicate": 1,
        "bad_timestamp": 1,
    }
    assert len(_rows(tmp_path / "out.csv")) == 12


def test_a_huge_line_is_one_bad_row(tmp_path):
    (tmp_path / "in.csv").write_text("timestamp,value\n0,1.0\n" + "9" * 2_000_000 + "\n1,2.0\n")
    document = json.loads(_run(tmp_path / "in.csv", "--json").stdout)
    assert document["rows"] == {"received": 3, "accepted": 2, "quarantined": {"wrong_columns": 1}}


def test_columns_are_found_by_name_whatever_the_separator(tmp_path):
    (tmp_path / "in.txt").write_text("Reading#\tMote-ID\tHumidity\tLabel\n1\t7\t45.5\t0\n2\t7\t45.6\t0\n")
    _run(tmp_path / "in.txt", "--column", "humidity", "--rows", tmp_path / "out.csv")
    assert [(row["timestamp"], row["value"]) for row in _rows(tmp_path / "out.csv")] == [("1", "45.5"), ("2", "45.6")]


def test_a_stream_is_read_from_the_standard_input():
    result = _run("-", "--rows", "-", input="timestamp,value\n0,1.0\n1,2.0\n")
    assert result.stdout.splitlines() == ["timestamp,value,anomaly_score", "0,1.0,0.000000", "1,2.0,0.000000"]


def test_an_unknown_column_or_a_missing_file_is_bad_input(tmp_path):
    (tmp_path / "in.csv").write_text("timestamp,value\n0,1.0\n")
    with pytest.raises(SourceUnreadable, match="column 'speed'"):
        _run(tmp_path / "in.csv", "--column", "speed")
    with pytest.raises(SourceUnreadable, match="missing"):
        _run(tmp_path / "missing.csv")


def test_an_empty_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "empty.csv").touch()
    with pytest.raises(SourceUnreadable, match=r"empty\.csv': is empty; expected a CSV file with at least one row"):
        _run(tmp_path / "empty.csv", "--json", "--rows", tmp_path / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.csv"]


@pytest.mark.parametrize("content", ["\n\n", "timestamp,value\n"])
def test_a_file_of_a_header_alone_is_a_signal_without_rows(tmp_path, content):
    (tmp_path / "empty.csv").write_text(content)
    document = json.loads(_run(tmp_path / "empty.csv", "--json").stdout)
    assert document["rows"] == {"received": 0, "accepted": 0, "quarantined": {}}


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 9, b"\x7fELF\x02\x01\x00", b"\xff\xfe\n" * 3, b"a,b\nc,d\ne,f\n"]
)
def test_a_file_without_one_usable_row_is_refused(tmp_path, content):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(SourceUnreadable, match="none of"):
        _run(tmp_path / "in.csv")


@pytest.mark.parametrize(
    ("content", "options", "number", "name"),
    [
        ("timestamp,value\n1,2.0\n", (), 2, "value"),
        ("Time;Humidity;Speed km/h\n1;2.0;3.0\n", (), 2, "Humidity"),
        ("Time;Humidity;Speed km/h\n1;2.0;3.0\n", ("--column", "speed KM/H"), 3, "Speed km/h"),
        ("a,Value,b\n1,2.0,3.0\n", (), 2, "Value"),
        ("1,2.0,3.0\n2,2.0,3.0\n", (), 2, None),
        ("2.0\n3.0\n", (), 1, None),
        ("[red]x[/red]\n3.0\n", (), 1, "[red]x[/red]"),
    ],
)
def test_the_column_that_was_chosen_is_named(tmp_path, content, options, number, name):
    (tmp_path / "in.csv").write_text(content)
    document = json.loads(_run(tmp_path / "in.csv", "--json", *options).stdout)
    assert document["column"] == {"number": number, "name": name}
    told = f"values of column {number}" + ("" if name is None else f", {name!r}")
    assert told in _run(tmp_path / "in.csv", *options).stdout.splitlines()


def test_a_huge_column_name_is_told_shortened(tmp_path):
    (tmp_path / "in.csv").write_text("x" * 5000 + "\n3.0\n")
    assert json.loads(_run(tmp_path / "in.csv", "--json").stdout)["column"]["name"] == "x" * 80


def test_a_stream_that_brings_nothing_has_no_column():
    assert json.loads(_run("-", "--json", input="").stdout)["column"] is None

"""Counting per interval: received = accepted + quarantined."""

from __future__ import annotations

import pytest

from edge_preprocess.log_counters import LogCounter
from edge_preprocess.log_intake import MAX_LINE_BYTES, LineSplitter, QuarantineReason, clean_line
from edge_preprocess.log_tally import LogDigester
from edge_preprocess.log_templates import LogMatch
from telemetry_sim.records import Severity

BAD = {
    b"\xff\xfe broken": QuarantineReason.INVALID_UTF8,
    b"a\x00b": QuarantineReason.NUL_BYTE,
    b"\x1b]0;title\x07 hello": QuarantineReason.TERMINAL_ESCAPE,
    b"bell \x07": QuarantineReason.CONTROL_CHARACTER,
    "abc\u202etxt".encode(): QuarantineReason.INVISIBLE_TEXT,
    b"   ": QuarantineReason.EMPTY,
    b"x" * (MAX_LINE_BYTES + 1): QuarantineReason.TOO_LONG,
}


@pytest.mark.parametrize(("raw", "reason"), BAD.items(), ids=[reason.value for reason in BAD.values()])
def test_bad_lines_are_quarantined_with_their_reason(raw: bytes, reason: QuarantineReason) -> None:
    assert clean_line(raw) is reason


@pytest.mark.parametrize("raw", [b"link 3 up\r\n", b"\x1b[31mlink 3 up\x1b[0m", b"\xef\xbb\xbflink 3 up", "link 3 up"])
def test_line_ends_colours_and_marks_are_taken_off(raw: bytes | str) -> None:
    assert clean_line(raw) == "link 3 up"


def test_every_line_is_counted_once() -> None:
    digester = LogDigester()
    for raw in [*BAD, b"oom-killer invoked for pid 7", b"link 3 up"]:
        digester.observe(raw)
    tally = digester.close_interval()
    assert tally.num_received == len(BAD) + 2 == tally.num_accepted + sum(tally.num_quarantined.values())
    assert sum(tally.templates.values()) == tally.num_accepted == 2
    assert digester.close_interval().num_received == 0


def test_counters_and_severities_are_those_of_the_lines() -> None:
    digester = LogDigester()
    for number in range(3):
        digester.observe(f"2026-05-01 10:00:0{number} ERROR rrc: handover of ue {number} failed")
    tally = digester.close_interval()
    assert tally.counters == {LogCounter.HANDOVER_FAILURE: 3}
    assert tally.severities == {Severity.MAJOR: 3}
    assert len(tally.new_templates) == 1


def test_a_template_is_new_once() -> None:
    digester = LogDigester()
    match = digester.observe("link 3 up")
    assert isinstance(match, LogMatch)
    assert digester.close_interval().new_templates == (match.template_id,)
    digester.observe("link 4 up")
    assert digester.close_interval().new_templates == ()


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_do_not_depend_on_how_the_stream_was_cut(size: int) -> None:
    stream = b"one\ntwo two\r\n\n" + b"x" * (MAX_LINE_BYTES * 3) + b"\nlast"
    splitter, lines = LineSplitter(), []
    for start in range(0, len(stream), size):
        lines += splitter.feed(stream[start : start + size])
    lines += splitter.finish()
    assert lines == [b"one", b"two two\r", b"", QuarantineReason.TOO_LONG, b"last"]

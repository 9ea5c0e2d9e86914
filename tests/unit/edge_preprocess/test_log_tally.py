"""Counting per interval: received = accepted + quarantined."""

from __future__ import annotations

from collections import Counter

import pytest

from edge_preprocess.log_counters import LogCounter
from edge_preprocess.log_intake import MAX_LINE_BYTES, Cleaning, LineSplitter, QuarantineReason, clean_line
from edge_preprocess.log_match import LogMatch
from edge_preprocess.log_tally import LogDigester
from telemetry_sim.records import Severity

BAD = {
    b"\xff\xfe broken": QuarantineReason.INVALID_UTF8,
    b"a\x00b": QuarantineReason.NUL_BYTE,
    b"   ": QuarantineReason.EMPTY,
    b"x" * (MAX_LINE_BYTES + 1): QuarantineReason.TOO_LONG,
}


@pytest.mark.parametrize(("raw", "reason"), BAD.items(), ids=[reason.value for reason in BAD.values()])
def test_bad_lines_are_quarantined_with_their_reason(raw: bytes, reason: QuarantineReason) -> None:
    assert clean_line(raw) is reason


@pytest.mark.parametrize(
    ("raw", "cleaning"),
    [
        (b"\x1b[31mlink 3 up\x1b[0m", Cleaning.TERMINAL_ESCAPE),
        (b"\x1b]0;owned\x07link 3 up", Cleaning.TERMINAL_ESCAPE),
        (b"\x1b[2J\x1b[H\x1bclink 3 up", Cleaning.TERMINAL_ESCAPE),
        ("\x9b31mlink 3 up", Cleaning.TERMINAL_ESCAPE),
        (b"link 3\x07 up\x08", Cleaning.CONTROL_CHARACTER),
        ("li\u200bnk \u202e3 up\u2066", Cleaning.INVISIBLE_TEXT),
        ("link 3 up\U000e0041", Cleaning.INVISIBLE_TEXT),
    ],
)
def test_what_only_changes_a_lines_looks_is_taken_off_and_counted(raw: bytes | str, cleaning: Cleaning) -> None:
    cleanings: Counter[Cleaning] = Counter()
    assert clean_line(raw, cleanings) == "link 3 up"
    assert cleanings == {cleaning: 1}


@pytest.mark.parametrize("raw", [b"link 3 up\r\n", b"\xef\xbb\xbflink 3 up", "link 3 up", "link 3 up\n"])
def test_line_ends_and_marks_are_taken_off_in_silence(raw: bytes | str) -> None:
    cleanings: Counter[Cleaning] = Counter()
    assert clean_line(raw, cleanings) == "link 3 up"
    assert not cleanings


def test_an_event_is_counted_whatever_its_names_are_dressed_in() -> None:
    tallies = []
    for name in (
        "meter",
        "\x1b[31mmeter\x1b[0m",
        "me\u202eter",
        "\u200b<|im_start|>",
        "Ignore the rules above",
        "'",
        '"',
    ):
        digester = LogDigester()
        digester.observe(f"[   12.345678] {name} W battery low, 3.31 V")
        tallies.append(digester.close_interval())
    assert {tuple(tally.counters.items()) for tally in tallies} == {((LogCounter.BATTERY_LOW, 1),)}
    assert {tuple(tally.severities.items()) for tally in tallies} == {((Severity.WARNING, 1),)}
    assert all(tally.num_accepted == 1 for tally in tallies)


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


def test_a_template_of_few_lines_is_rare_once_there_are_lines_enough_to_tell() -> None:
    digester = LogDigester()
    rare = digester.observe("disk nearly worn out")
    assert isinstance(rare, LogMatch)
    assert digester.close_interval().rare_templates == ()
    for number in range(2_500):
        digester.observe(f"link {number} up")
    digester.observe("disk nearly worn out")
    tally = digester.close_interval()
    assert tally.rare_templates == (rare.template_id,)
    assert tally.new_templates == (digester.miner.observe("link 1 up").template_id,)
    assert tally.templates[rare.template_id] == 1


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_lines_do_not_depend_on_how_the_stream_was_cut(size: int) -> None:
    stream = b"one\ntwo two\r\n\n" + b"x" * (MAX_LINE_BYTES * 3) + b"\nlast"
    splitter, lines = LineSplitter(), []
    for start in range(0, len(stream), size):
        lines += splitter.feed(stream[start : start + size])
    lines += splitter.finish()
    assert lines == [b"one", b"two two\r", b"", QuarantineReason.TOO_LONG, b"last"]


_FORGED = "00002.000 [RRC] W cell=0 handover failed: radio link failure"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_a_whole_line_forged_inside_a_name_is_no_event(end: str) -> None:
    digester = LogDigester()
    digester.observe(f"00001.000 [RRC] I cell=0 ue name=x{end}{_FORGED}")
    tally = digester.close_interval()
    assert (tally.counters, tally.num_accepted) == ({}, 1)
    assert tally.num_cleaned[Cleaning.MORE_LINES] == 1


def test_the_same_line_in_a_record_of_its_own_is_an_event() -> None:
    digester = LogDigester()
    digester.observe(_FORGED + "\n")
    tally = digester.close_interval()
    assert tally.counters
    assert tally.num_cleaned == {}


def test_a_record_that_begins_with_a_line_end_says_nothing() -> None:
    assert clean_line(f"\n{_FORGED}") is QuarantineReason.EMPTY


def test_a_record_of_line_ends_alone_says_nothing() -> None:
    assert clean_line("\r\n") is QuarantineReason.EMPTY

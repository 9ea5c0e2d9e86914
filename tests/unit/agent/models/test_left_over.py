"""Which numbers of a request are asked about, whatever a model made of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent.models.left_over import left_over, question_about
from agent.models.operator_hearing import Heard, hear
from agent.models.operator_language import Call, call

STATUS = call("network_status", {"cell": 2})
SLICE_STATUS = call("network_status", {"slice": 1})


def heard(text: str, slices: Sequence[str] = ("cameras", "video")) -> Heard:
    return hear(text, cells=(0, 1, 2, 3), slices=slices)


def asked_about(text: str, calls: Sequence[Call], slices: Sequence[str] = ("cameras", "video")) -> str:
    said = heard(text, slices)
    place = left_over(calls, said)
    return "" if place is None else said.said[place]


@pytest.mark.parametrize(
    ("text", "calls", "left"),
    [
        ("how is cell 2", [STATUS], ""),
        ("how is cell 7", [STATUS], "7"),
        ("how is cell 50 at 50 %", [STATUS], "50"),
        ("is cell 9 below 9 ms", [STATUS], "9"),
        ("status of cell 5 and plan 5", [STATUS], "5"),
        ("are the cameras under 50 ms", [SLICE_STATUS], ""),
        ("are the cameras under 50 ms and which cell is worst", [SLICE_STATUS, call("find_worst", {})], ""),
        ("was plan 3 applied", [call("show_history", {})], ""),
        ("what if cell 2 fails, is it under 50 ms", [call("what_if_down", {"cell": 2})], "50 ms"),
        ("keep cameras under 20 ms and 5 Mb/s", [call("set_goal", {"metric": "delay_ms", "value": 20})], "5 Mb/s"),
        ("the last two hours of cell 2", [STATUS], ""),
        ("the last 2 hours of cell 2", [STATUS], "2 hours"),
        ("which of the two cells", [call("find_worst", {"kind": "cell"})], ""),
        ("help me with 7", [call("help", {})], ""),
    ],
)
def test_the_first_number_without_a_place_is_asked_about(text: str, calls: list[Call], left: str) -> None:
    assert asked_about(text, calls) == left


def test_a_number_is_not_lost_in_a_slice_of_the_same_digits() -> None:
    assert asked_about("how is cell 9", [STATUS], ("video-9", "cameras")) == "9"
    assert asked_about("how is video-9", [SLICE_STATUS], ("video-9", "cameras")) == ""


@pytest.mark.parametrize(
    ("text", "question"),
    [("how is cell 7", "number"), ("reduce it by 3 dB", "unit"), ("under 20 ms and 5 Mb/s", "second")],
)
def test_the_question_fits_the_number(text: str, question: str) -> None:
    assert question_about(0, heard(text)) == question

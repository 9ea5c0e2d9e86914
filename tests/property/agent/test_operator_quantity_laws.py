"""Whatever is said, and however the grammar is walked, no argument takes a number of a foreign unit."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from agent.models.operator_grammar import END, allowed_symbols, read_symbols
from agent.models.operator_hearing import Heard, hear
from agent.models.operator_language import CHANGING, Call

CELLS = (0, 1, 2, 3)
SLICES = ("cameras", "signal-control", "vehicles")
OWN = {
    "ms": ("ms", "milliseconds", "msec"),
    "mbps": ("Mb/s", "Mbps", "mbit"),
    "pct": ("%", "percent", "per cent"),
    "times": ("x", "times", "fold"),
}
FOREIGN = (
    "dB",
    "dBm",
    "MHz",
    "GHz",
    "Hz",
    "°C",
    "V",
    "W",
    "kW",
    "km",
    "degrees",
    "PRBs",
    "kb/s",
    "Gbit/s",
    "bytes",
    "€",
)
TERMS = ("5QI", "n78", "5G", "6G", "LTE-M1", "ISO9001", "3GPP", "802.11", "802.11ax", "V2X", "4.3.2.1", "16:30", "CO2")
TAKES = {
    ("what_if_demand", "times"): "times",
    ("what_if_demand", "up_pct"): "pct",
    ("what_if_demand", "down_pct"): "pct",
    ("what_if_demand", "to_pct"): "pct",
    ("what_if_share", None): "pct",
    ("set_goal", "delay_ms"): "ms",
    ("set_goal", "in_time_pct"): "pct",
    ("set_goal", "rate_mbps"): "mbps",
}
FACTORS = {"times": (2, 3, 10), "down_pct": (50,)}
numbers = st.integers(4, 5000).map(str) | st.decimals(4, 90, places=1).map(str)
blanks = st.sampled_from(("", " "))
own_amounts = st.sampled_from([(kind, unit) for kind, units in OWN.items() for unit in units])
walks = st.lists(st.integers(0, 10**6), min_size=40, max_size=40)


def walked(heard: Heard, steps: Sequence[int]) -> tuple[Call, ...]:
    """The calls of one way through the grammar."""
    answer: list[str] = []
    for step in steps:
        options = allowed_symbols(heard, answer)
        if not options:
            break
        answer.append(options[step % len(options)])
    assert answer[-1] == END
    return read_symbols(answer, heard)


def values(calls: Sequence[Call]) -> list[tuple[str, str | None, object]]:
    """Tool, choice before it and value, wherever the value can have been said."""
    found: list[tuple[str, str | None, object]] = []
    for each in calls:
        arguments = dict(each.arguments)
        choice = arguments.get("change") or arguments.get("metric")
        if arguments.get("value") not in (None, *FACTORS.get(str(choice), ())):
            found.append((each.tool, choice if isinstance(choice, str) else None, arguments["value"]))
    return found


@given(number=numbers, blank=blanks, unit=st.sampled_from(FOREIGN), steps=walks)
def test_no_value_is_of_a_foreign_unit(number: str, blank: str, unit: str, steps: list[int]) -> None:
    heard = hear(f"reduce the vehicles of cell 3 by {number}{blank}{unit}", cells=CELLS, slices=SLICES)
    calls = walked(heard, steps)
    assert values(calls) == []
    assert not {each.tool for each in calls} & (CHANGING | {"what_if_down", "what_if_demand", "what_if_share"})


@given(number=numbers, blank=blanks, amount=own_amounts, steps=walks)
def test_a_value_is_of_the_unit_that_was_said(
    number: str, blank: str, amount: tuple[str, str], steps: list[int]
) -> None:
    kind, unit = amount
    heard = hear(f"vehicles {number}{blank}{unit} in cell 3", cells=CELLS, slices=SLICES)
    for tool, choice, value in values(walked(heard, steps)):
        assert value == float(number)
        assert TAKES[tool, choice] == kind


@given(number=numbers, amount=own_amounts, kind=st.sampled_from(sorted(TAKES, key=str)))
def test_a_value_of_the_right_unit_can_be_taken(
    number: str, amount: tuple[str, str], kind: tuple[str, str | None]
) -> None:
    heard = hear(f"vehicles {number} {amount[1]}", cells=CELLS, slices=SLICES)
    tool, choice = kind
    before = {"what_if_demand": ["<s3>", "<->", f"<{choice}>"], "what_if_share": ["<s3>", "<->"]}
    allowed = allowed_symbols(heard, [f"<{tool}>", *before.get(tool, [f"<{choice}>"])])
    assert ("<m1>" in allowed) == (TAKES[kind] == amount[0])


@given(term=st.sampled_from(TERMS), steps=walks)
def test_no_argument_takes_a_number_out_of_a_name(term: str, steps: list[int]) -> None:
    heard = hear(f"what is the {term} of vehicles", cells=(*CELLS, 5, 6, 78), slices=SLICES)
    assert heard.numbers == ()
    calls = walked(heard, steps)
    assert values(calls) == []
    assert {dict(each.arguments).get(name) for each in calls for name in ("cell", "version")} == {None}


@given(seconds=numbers, unit=st.sampled_from(("s", "seconds", "minutes", "min", "hours", "h", "days")), steps=walks)
def test_no_value_is_a_duration(seconds: str, unit: str, steps: list[int]) -> None:
    heard = hear(f"vehicles of cell 3 for {seconds} {unit}", cells=CELLS, slices=SLICES)
    assert values(walked(heard, steps)) == []


@given(text=st.text() | st.text("0123456789.:-/'’ xsmdBcell%µμ½²°_", max_size=60), steps=walks)
def test_anything_is_heard_and_answered(text: str, steps: list[int]) -> None:
    heard = hear(text, cells=CELLS, slices=SLICES, cell=2, slice_number=1)
    assert len(heard.numbers) == len(heard.is_cell) == len(heard.quantities) == len(heard.said) <= 8
    assert walked(heard, steps)

"""Numbers of a request that no call took up: they are asked about, unless the answer tells them anyway."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent.models.operator_grammar import untaken_places
from agent.models.operator_hearing import Heard
from agent.models.operator_language import ARGUMENTS, BOUND, Call, Value
from agent.models.operator_quantities import Quantity

_BARE = frozenset({Quantity.PLAIN, Quantity.CELL, Quantity.VERSION, Quantity.SLICE, Quantity.ORDINAL})
_GOALS = frozenset({Quantity.MS, Quantity.MBPS})
"""What a goal is said in; a call takes one."""
_TOLD_ANYWAY = frozenset({Quantity.MS, Quantity.MBPS, Quantity.PCT, Quantity.VERSION})
"""What a look may be asked with and needs no argument for: `are the cameras under 50 ms`."""


def left_over(calls: Sequence[Call], heard: Heard) -> int | None:
    """Place of a number that no call took up, where a number could belong; one with a unit before a bare one."""
    if not any(_takes_numbers(call, heard) for call in calls):
        return None
    are_looks = not any(call.tool in BOUND for call in calls)
    told = {place for place, counted in enumerate(heard.quantities) if are_looks and counted in _TOLD_ANYWAY}
    used = {value for call in calls for name, value in call.arguments if name not in ("slice", "yields")}
    left = [p for p in untaken_places(heard, calls) if p not in told and _is_missed(heard, p, used)]
    return min(left, key=lambda place: heard.quantities[place] in _BARE, default=None)


def question_about(place: int, heard: Heard) -> str:
    """The question that such a number asks for: about a number, its unit, or a second goal."""
    if heard.quantities[place] in _BARE:
        return "number"
    return "second" if sum(quantity in _GOALS for quantity in heard.quantities) > 1 else "unit"


def is_in_digits(heard: Heard, place: int) -> bool:
    """Whether a number was written in digits; in words, as `two`, it may be a way of speaking."""
    return heard.said[place][:1].isdigit()


def _takes_numbers(call: Call, heard: Heard) -> bool:
    return (
        bool(set(ARGUMENTS[call.tool]) & {"cell", "version", "value"})
        or ("about", "cell") in call.arguments
        or (call.tool == "ask" and Quantity.OTHER in heard.quantities)
    )


def _is_missed(heard: Heard, place: int, used: Collection[Value]) -> bool:
    if heard.quantities[place] in _BARE:
        return is_in_digits(heard, place) and heard.numbers[place] not in used
    # `the last two hours` is a way of speaking.
    return is_in_digits(heard, place) or heard.quantities[place] is not Quantity.DURATION

"""An answer as symbols: what may follow what, and the calls that they stand for.

    <set_goal> <delay_ms> <m1> <s2> <-> <always> <-> <|end|>

A call is its tool and its arguments in order. `<that>` is what the conversation was last about, `<->` nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.models.operator_hearing import MAX_NUMBERS, MAX_SLICES, Heard
from agent.models.operator_language import ARGUMENTS, BOUND, CHOICES, MAX_CALLS, NEEDED, Call, Value, call
from agent.models.operator_quantities import Quantity

END = "<|end|>"
NOTHING, THAT = "<->", "<that>"
_FACTORS_OF = {"<times>": {"<x2>": 2, "<x3>": 3, "<x10>": 10}, "<down_pct>": {"<x50>": 50}}
"""Amounts of a change that are said without a number: doubled, tripled, tenfold, halved (by 50 %)."""
_FACTORS = {symbol: factor for factors in _FACTORS_OF.values() for symbol, factor in factors.items()}
_TOOLS = {f"<{tool}>": tool for tool in ARGUMENTS}
_QUANTITIES = {
    "cell": Quantity.CELL,
    "version": Quantity.VERSION,
    "what_if_share": Quantity.PCT,
    "<times>": Quantity.TIMES,
    "<up_pct>": Quantity.PCT,
    "<down_pct>": Quantity.PCT,
    "<to_pct>": Quantity.PCT,
    "<delay_ms>": Quantity.MS,
    "<in_time_pct>": Quantity.PCT,
    "<rate_mbps>": Quantity.MBPS,
}
"""What a number may be said to count: by the argument, the tool, or what was chosen before it. Else it must be bare."""
_OPTIONS = {f"<{option}>": option for options in CHOICES.values() for option in options}


def all_symbols() -> tuple[str, ...]:
    """Every symbol of prompts and answers, in a fixed order."""
    slices = [f"<s{n}>" for n in range(1, MAX_SLICES + 1)]
    numbers = [f"<{kind}{n}>" for kind in "nm" for n in range(1, MAX_NUMBERS + 1)]
    fixed = ["<f>", "<u>", "<more>", NOTHING, THAT, *_FACTORS]
    return tuple(dict.fromkeys([*fixed, *slices, *numbers, *_TOOLS, *_OPTIONS]))


def allowed_symbols(heard: Heard, answer: Sequence[str]) -> tuple[str, ...]:
    """What may come next; empty once the answer has ended."""
    if answer and answer[-1] == END:
        return ()
    num_calls, tool, place = _position(answer)
    if tool and place < len(ARGUMENTS[tool]):
        return _argument_symbols(heard, tool, ARGUMENTS[tool][place], answer[len(answer) - place :])
    if num_calls == MAX_CALLS:
        return (END,)
    tools = [symbol for symbol, name in _TOOLS.items() if _is_sayable(heard, name)]
    return (END, *tools) if num_calls else tuple(tools)


def write_symbols(calls: Sequence[Call], heard: Heard) -> str:
    """The answer a model should give; raises ValueError for a value that was never said."""
    symbols = []
    for each in calls:
        symbols.append(f"<{each.tool}>")
        given: list[str] = []
        for name, value in each.arguments:
            given.append(_symbol(heard, each.tool, name, value, given))
        symbols += given
    return " ".join(symbols)


def read_symbols(answer: Sequence[str], heard: Heard) -> tuple[Call, ...]:
    """The calls of an answer that the grammar let through."""
    calls: list[Call] = []
    rest = iter(answer)
    for symbol in rest:
        if symbol != END:
            tool = _TOOLS[symbol]
            calls.append(call(tool, {name: _value(heard, name, next(rest)) for name in ARGUMENTS[tool]}))
    return tuple(calls)


def untaken_places(heard: Heard, calls: Sequence[Call]) -> tuple[int, ...]:
    """The numbers that were said and that no call can have taken, places from 0."""
    taken: set[int] = set()
    for each in calls:
        chosen = [f"<{value}>" for name, value in each.arguments if name in CHOICES]
        for name, value in each.arguments:
            if name not in CHOICES and name not in ("slice", "yields"):
                taken |= {p for p in _places(heard, each.tool, name, chosen) if heard.numbers[p] == value}
    return tuple(place for place in range(len(heard.numbers)) if place not in taken)


def _position(answer: Sequence[str]) -> tuple[int, str, int]:
    """How many calls were begun, the last one's tool, and how many of its arguments are there."""
    starts = [(place, _TOOLS[symbol]) for place, symbol in enumerate(answer) if symbol in _TOOLS]
    if not starts:
        return 0, "", 0
    place, tool = starts[-1]
    return len(starts), tool, len(answer) - place - 1


def _is_sayable(heard: Heard, tool: str) -> bool:
    if tool in BOUND and Quantity.OTHER in heard.quantities:
        return False
    given: list[str] = []
    for name in ARGUMENTS[tool]:
        given += _argument_symbols(heard, tool, name, given)[:1]
    return len(given) == len(ARGUMENTS[tool])


def _argument_symbols(heard: Heard, tool: str, name: str, given: Sequence[str]) -> tuple[str, ...]:
    """`given` are the symbols of the arguments before it."""
    symbols: list[str] = [] if (tool, name) in NEEDED or name in CHOICES else [NOTHING]
    if name in CHOICES:
        options = [f"<{option}>" for option in CHOICES[name]]
        symbols += [o for o in options if name != "change" or _argument_symbols(heard, tool, "value", [*given, o])]
    elif name in ("slice", "yields"):
        symbols += [f"<s{n}>" for n in range(1, heard.num_slices + 1)]
        symbols += [THAT] if heard.slice is not None and name == "slice" else []
    else:
        symbols += [heard.number_symbol(place) for place in _places(heard, tool, name, given)]
        symbols += [THAT] if name == "cell" and heard.cell is not None else []
        symbols += [factor for symbol in given for factor in _FACTORS_OF.get(symbol, ()) if name == "value"]
    return tuple(symbols)


def _places(heard: Heard, tool: str, name: str, given: Sequence[str]) -> tuple[int, ...]:
    """The numbers that an argument may take, places from 0."""
    chosen = next((symbol for symbol in given if symbol in _QUANTITIES), tool)
    counted = _QUANTITIES.get(chosen if name == "value" else name, Quantity.PLAIN)
    wanted = {Quantity.PLAIN, counted} | (set() if name == "value" else {Quantity.ORDINAL})
    return tuple(
        place
        for place, number in enumerate(heard.numbers)
        if heard.quantities[place] in wanted
        and (heard.is_cell[place] if name == "cell" else name == "value" or number.is_integer())
    )


def _symbol(heard: Heard, tool: str, name: str, value: Value, given: Sequence[str]) -> str:
    if value is None:
        return NOTHING
    if name in CHOICES:
        return f"<{value}>"
    is_last_slice = name == "slice" and value == heard.slice
    if is_last_slice or (name == "cell" and value == heard.cell and value not in heard.numbers):
        return THAT
    if name in ("slice", "yields"):
        return f"<s{value}>"
    places = [place for place in _places(heard, tool, name, given) if heard.numbers[place] == value]
    if places:
        return heard.number_symbol(places[0])
    factors = [symbol for symbol, factor in _FACTORS.items() if factor == value]
    if (tool, name) == ("what_if_demand", "value") and factors:
        return factors[0]
    raise ValueError(f"{name} {value!r} was not said in {heard.prompt!r}")


def _value(heard: Heard, name: str, symbol: str) -> Value:
    if symbol == NOTHING:
        return None
    if symbol == THAT:
        return heard.cell if name == "cell" else heard.slice
    if symbol in _OPTIONS:
        return _OPTIONS[symbol]
    if symbol in _FACTORS:
        return _FACTORS[symbol]
    place = int(symbol[2:-1])
    if name in ("slice", "yields"):
        return place
    number = heard.numbers[place - 1]
    return int(number) if number.is_integer() else number

"""What a number in a request is a number of: its unit, the cell or plan that goes by it, or part of a longer name.

reduce cell 3 by 3 dB in n78   ->   CELL, OTHER, NAME
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

TOUCHING, APART, OWNING = "", " ", "'"
"""What stands between a piece of text and the one before it."""
_LEAST_SLIP = 6
"""Letters of a word that may be mistyped."""
_LEAST_STANDARD = 100
"""From here on a number with a fraction and no unit is a standard's, as 802.11."""


class Quantity(Enum):
    """What a number counts, as far as the text says."""

    PLAIN = auto()
    """Nothing was said."""
    MS = auto()
    MBPS = auto()
    PCT = auto()
    TIMES = auto()
    CELL = auto()
    """Said as a cell's number, which need not exist."""
    VERSION = auto()
    SLICE = auto()
    """Of no slice that there is, else it would be heard as one."""
    ORDINAL = auto()
    """As `the 2nd cell`."""
    DURATION = auto()
    """Seconds to years."""
    OTHER = auto()
    """A unit that no call takes."""
    NAME = auto()
    """No number at all, but a part of a name as 5QI, n78 or 802.11."""


_UNITS = {
    Quantity.MS: "ms msec msecs millis millisec millisecs millisecond milliseconds",
    Quantity.MBPS: "mb mbps mbit mbits megabit megabits meg megs",
    Quantity.PCT: "% pct percent percentage",
    Quantity.TIMES: "x × times fold",
    Quantity.ORDINAL: "st nd rd th",
    Quantity.DURATION: "s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days week weeks "
    "month months year years us μs microsecond microseconds ns nanosecond nanoseconds oclock am pm",
    Quantity.OTHER: "db dbm dbi dbd dbc dbw decibel decibels hz khz mhz ghz thz hertz kilohertz megahertz gigahertz "
    "° c f k celsius fahrenheit kelvin degree degrees v mv kv volt volts a ma amp amps ampere amperes w mw kw gw watt "
    "watts milliwatt milliwatts kilowatt kilowatts wh kwh mwh j kj joule joules km cm mm metre metres meter meters "
    "kilometre kilometres kilometer kilometers mile miles ft feet kmh kph mph bps kb kbps kbit kbits gb gbps gbit "
    "gbits tb tbps tbit kilobit kilobits gigabit gigabits terabit terabits bit bits byte bytes kib mib gib kilobyte "
    "kilobytes megabyte megabytes gigabyte gigabytes terabyte terabytes prb prbs kg gram grams kilo kilos ton tons "
    "‰ € $ £ ¥ euro euros eur dollar dollars usd pound pounds cent cents rpm",
}  # fmt: skip
_UNIT = {word: quantity for quantity, words in _UNITS.items() for word in words.split()}
_TOUCHING_ONLY = frozenset({"a", "d", "f", "us", "st", "nd", "rd", "th"})
"""Read with a number only right behind it; apart they are words, or letters of a list."""
_BEFORE = {
    **dict.fromkeys(("x", "×", "times"), Quantity.TIMES),
    **dict.fromkeys(("$", "€", "£", "¥"), Quantity.OTHER),
}
_NAMED = {
    **dict.fromkeys(("cell", "cel", "c", "site", "gnb", "enb", "node", "bs", "station"), Quantity.CELL),
    **dict.fromkeys(("sector", "mast", "tower", "antenna"), Quantity.CELL),
    **dict.fromkeys(("version", "v", "plan", "policy", "proposal"), Quantity.VERSION),
    **dict.fromkeys(("slice", "s"), Quantity.SLICE),
}
"""What goes by a whole number behind its name."""
_NUMBER_SIGNS = frozenset({"number", "no", "nr", "id", "#", "-", "."})
"""What may stand between a cell and its number."""
_LISTING = frozenset({"and", "or", ",", "&", "/", "-", "to"})
_CHAINING = frozenset(".:")
"""Between digits that together are a clock's or an address's."""


def quantity_of(pieces: Sequence[str], gaps: Sequence[str], start: int, end: int) -> tuple[Quantity, int]:
    """What the number in `pieces[start:end]` counts, and where it ends with its unit.

    A unit behind it outweighs a cell named before it.
    """
    before, after = _touching_before(pieces, gaps, start), _touching_after(pieces, gaps, end)
    if _is_letter(before) and after.isalpha() and after != "s":
        return Quantity.NAME, end
    named = _named_before(pieces, start)
    unit, unit_end = _unit_after(pieces, gaps, end, is_named=named is not None)
    if unit:
        return unit, unit_end
    told = _BEFORE.get(pieces[start - 1] if start else "") or named
    if told:
        return told, end
    is_part = before.isalpha() or (after.isalpha() and after != "s") or before[:1].isdigit() or after[:1].isdigit()
    is_standard = "." in pieces[start] and float(pieces[start]) >= _LEAST_STANDARD
    return (Quantity.NAME if is_part or is_standard else Quantity.PLAIN), end


def _unit_after(pieces: Sequence[str], gaps: Sequence[str], end: int, *, is_named: bool) -> tuple[Quantity | None, int]:
    if pieces[end : end + 1] == ["-"] and gaps[end : end + 2] == [TOUCHING, TOUCHING]:
        end += 1
    if end == len(pieces) or gaps[end] == OWNING:
        return None, end
    word, following = pieces[end], "".join(pieces[end + 1 : end + 2])
    if following[:1].isdigit() and (word in _BEFORE or gaps[end + 1] == TOUCHING):
        return None, end
    # A letter behind a cell's number is no unit: `cell 2s load`.
    if (gaps[end] == APART and word in _TOUCHING_ONLY) or (is_named and _is_letter(word)):
        return None, end
    if (word, following) == ("per", "cent"):
        return Quantity.PCT, end + 2
    is_rate = pieces[end + 1 : end + 3] in (["/", "s"], ["per", "second"])
    return _find(word, _UNIT), end + (3 if is_rate else 1)


def _named_before(pieces: Sequence[str], start: int) -> Quantity | None:
    """Whose number it is: `cell 3`, `cell no 3`, `cells 1, 2 and 3`."""
    if "." in pieces[start]:
        return None
    at = start - 1
    while at >= 1 and pieces[at] in _LISTING and pieces[at - 1][0].isdigit():
        at -= 2
    is_listed = at < start - 1
    while at >= 0 and pieces[at] in _NUMBER_SIGNS:
        at -= 1
    word = pieces[at] if at >= 0 else ""
    if is_listed and not word.endswith("s"):
        return None
    return _find(word, _NAMED) or _find(word.removesuffix("s"), _NAMED)


def _touching_before(pieces: Sequence[str], gaps: Sequence[str], start: int) -> str:
    """Letters that a number hangs on, or digits where a point or colon joins them; else nothing."""
    if start == 0 or gaps[start] != TOUCHING:
        return ""
    joint, far = pieces[start - 1], pieces[start - 2] if start > 1 and gaps[start - 1] == TOUCHING else ""
    return _end_of_chain(joint, far)


def _touching_after(pieces: Sequence[str], gaps: Sequence[str], end: int) -> str:
    if end == len(pieces) or gaps[end] != TOUCHING:
        return ""
    return _end_of_chain(pieces[end], pieces[end + 1] if gaps[end + 1 : end + 2] == [TOUCHING] else "")


def _end_of_chain(joint: str, far: str) -> str:
    if joint == "-":
        return far if far.isalpha() else ""
    if joint in _CHAINING:
        return far if far[:1].isdigit() else ""
    return joint if joint.isalpha() else ""


def _is_letter(word: str) -> bool:
    return len(word) == 1 and word.isalpha()


def _find(word: str, table: dict[str, Quantity]) -> Quantity | None:
    """Also with a slip of the finger, if the word is long."""
    if word in table or len(word) < _LEAST_SLIP:
        return table.get(word)
    return next((found for name, found in table.items() if len(name) >= _LEAST_SLIP and is_slip(word, name)), None)


def is_slip(word: str, name: str) -> bool:
    """Whether one letter was missed, added, changed or swapped with the next."""
    if abs(len(word) - len(name)) > 1 or word[0] != name[0]:
        return False
    short, long = sorted((word, name), key=len)
    first = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[first:] == long[first + 1 :]
    rest = short[first + 1 :] == long[first + 1 :]
    swapped = short[first : first + 2] == long[first : first + 2][::-1] and short[first + 2 :] == long[first + 2 :]
    return rest or swapped

"""Which constant words of masked lines turn out to be variable.

A pattern is a masked line's words with wildcards. A slot is a pattern with one word left open; what has stood in it is
the evidence. A slot opens for good when enough different words have stood there with everything else equal, or as soon
as a typed variable has. Words that may name an event are never taken for variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_preprocess.log_counters import is_telling
from edge_preprocess.log_masking import WILDCARD, is_code

Pattern = tuple[str, ...]

_MODULUS = (1 << 61) - 1
_MULTIPLIER = 0x1B873593CC9E2D51
_NEVER = 1 << 30
_DIGITS = re.compile(r"\d+")
_SIZES = frozenset({"B", "kB", "KB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB"})
_UNITS = frozenset(
    _SIZES
    | {"bytes", "bps", "kbps", "Mbps", "Gbps"}
    | {"ns", "us", "µs", "ms", "s", "sec", "secs", "second", "seconds", "min", "mins", "minutes", "h", "hours", "days"}
    | {"Hz", "kHz", "MHz", "GHz", "W", "mW", "dBm", "dB", "V", "mV", "A", "mA"}
)
_ANNOUNCING = frozenset(
    {"user", "username", "login", "account", "host", "hostname", "server", "client", "peer", "domain", "service"}
)
"""Words after which a name follows more often than not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How many different words in one place make it variable; one setting for all systems."""

    num_words: int = 8
    num_codes: int = 2
    """For words that differ in their digits alone."""
    num_named: int = 3
    """For what follows an equals sign or a word that announces a name."""


class PatternSet:
    """The patterns seen and the slots that have opened."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._patterns: set[Pattern] = set()
        self._slots: dict[int, list[Pattern]] = {}
        self._open: set[int] = set()
        self._opened: list[Pattern] = []
        self._moved: list[Pattern] = []
        self._factors = [_MULTIPLIER]
        self._num_slots_checked = 0
        self.size = 0
        """Of all patterns together, in words of usual length; memory goes with it."""

    def __len__(self) -> int:
        return len(self._patterns)

    @property
    def opened(self) -> tuple[Pattern, ...]:
        """The open slots, as patterns; enough to restore what was learned."""
        return tuple(self._opened)

    def reopen(self, slot: Pattern) -> None:
        """Take over an open slot that was learned before."""
        if (key := self._key(slot)) not in self._open:
            self._keep_open(key, slot)

    def canonical(self, words: Pattern) -> Pattern:
        """The words with every open slot's word replaced by the wildcard."""
        return self._reduced(words)[0] if self._open else words

    def place(self, words: Pattern) -> Pattern:
        """The pattern of these words, which count as evidence if they are new."""
        if words in self._patterns:
            return words
        placed, key, slots = self._reduced(words)
        if not self._is_displacing(placed, key, slots):
            return placed
        return self.canonical(placed)

    def take_moves(self) -> dict[Pattern, Pattern]:
        """Patterns that became others since the last call, with what they are now."""
        moved, self._moved = self._moved, []
        return {old: self.canonical(old) for old in moved}

    def discard(self, pattern: Pattern) -> None:
        """Forget a pattern; slots that it helped to open stay open."""
        self._remove(pattern)
        _, _, slots = self._reduced(pattern)
        for key in slots:
            self._slots.pop(key, None)

    def _reduced(self, words: Pattern) -> tuple[Pattern, int, dict[int, int]]:
        """The canonical pattern, its key, and its slots: key to position."""
        factors = self._factors_for(words)
        blank = hash(WILDCARD)
        while True:
            hashes = [hash(word) * factor for word, factor in zip(words, factors, strict=False)]
            key = sum(hashes) % _MODULUS
            slots: dict[int, int] = {}
            for position, word in enumerate(words):
                if word[-1:].isalnum() or word[:1].isalnum():
                    slot = (key - hashes[position] + blank * factors[position]) % _MODULUS
                    if slot in self._open and not is_telling(word):
                        words = _opened(words, position)
                        break
                    slots[slot] = position
            else:
                return words, key, slots

    def _is_displacing(self, pattern: Pattern, key: int, slots: dict[int, int]) -> bool:
        """Take a pattern in; true where that opened a slot, so that patterns have moved."""
        pending: list[Pattern] = []
        has_opened = False
        while True:
            if pattern not in self._patterns:
                self._patterns.add(pattern)
                self.size += _size_of(pattern)
                ripe = self._record(pattern, key, slots)
                if ripe is not None:
                    has_opened = True
                    pending += self._open_slot(*ripe)
            if not pending:
                return has_opened
            pattern, key, slots = self._reduced(pending.pop())

    def _factors_for(self, words: Pattern) -> list[int]:
        while len(self._factors) < len(words):
            self._factors.append(self._factors[-1] * _MULTIPLIER % _MODULUS)
        return self._factors

    def _key(self, pattern: Pattern) -> int:
        factors = self._factors_for(pattern)
        return sum(hash(word) * factor for word, factor in zip(pattern, factors, strict=False)) % _MODULUS

    def _record(self, pattern: Pattern, key: int, slots: dict[int, int]) -> tuple[int, Pattern] | None:
        """A slot that this pattern makes ripe, if any."""
        ripe = (key, pattern) if key in self._slots and _has_constant(pattern) else None
        for slot, position in slots.items():
            holed = (*pattern[:position], WILDCARD, *pattern[position + 1 :])
            members = self._slots.setdefault(slot, [])
            members.append(pattern)
            if ripe is None and (holed in self._patterns or len(members) > 1) and _may_vary(pattern, holed, position):
                members[:] = [member for member in members if self._is_evidence(member, position)]
                if holed in self._patterns or len(members) >= self._needed(members, holed, position):
                    ripe = (slot, holed)
        return ripe

    def _is_evidence(self, member: Pattern, position: int) -> bool:
        return member in self._patterns and not is_telling(member[position])

    def _needed(self, members: list[Pattern], holed: Pattern, position: int) -> int:
        if _is_named(holed, position):
            return self._evidence.num_named
        if all(_is_unit(member, position) for member in members):
            return self._evidence.num_codes
        skeletons = [_DIGITS.sub("0", member[position]) for member in members]
        if is_code(members[-1][position]) and skeletons.count(skeletons[-1]) >= self._evidence.num_codes:
            return self._evidence.num_codes
        # Beside a single constant word, even many others may each be a message of its own.
        return self._evidence.num_words if sum(map(str.isalpha, holed)) > 1 else _NEVER

    def _open_slot(self, slot: int, holed: Pattern) -> list[Pattern]:
        """Open the slot for good; what stood in it is to be placed anew."""
        self._keep_open(slot, holed)
        displaced = [member for member in self._slots.pop(slot, ()) if member in self._patterns]
        for member in displaced:
            self._remove(member)
        self._moved += displaced
        return displaced

    def _keep_open(self, key: int, slot: Pattern) -> None:
        self._open.add(key)
        self._opened.append(slot)
        latest = self._opened[-_FEW:]
        if len(self._opened) * sum(map(_size_of, latest)) > len(latest) * _MAX_OPEN_WORDS:
            # A slot that is needed again opens again with the next word in it.
            gone = self._opened[: len(self._opened) // 4]
            self._opened = self._opened[len(gone) :]
            self._open.difference_update(map(self._key, gone))

    def _remove(self, pattern: Pattern) -> None:
        if pattern in self._patterns:
            self._patterns.remove(pattern)
            self.size -= _size_of(pattern)

    def drop_stale(self) -> None:
        """Forget evidence of patterns that are no more, once there is enough of it to pay."""
        if len(self._slots) < max(_MANY_SLOTS, 2 * self._num_slots_checked):
            return
        live = {key: [one for one in members if one in self._patterns] for key, members in self._slots.items()}
        self._slots = {key: members for key, members in live.items() if members}
        self._num_slots_checked = len(self._slots)


_MAX_OPEN_WORDS = 100_000
_FEW = 64
"""Slots opened last, by whose mean length all are judged."""
_MANY_SLOTS = 30_000


def _size_of(pattern: Pattern) -> int:
    return len(pattern) + sum(map(len, pattern)) // 32


def _may_vary(pattern: Pattern, holed: Pattern, position: int) -> bool:
    """False for names of events and functions, and where no other word is left."""
    is_called = pattern[position + 1 : position + 2] == ("(",)
    return not is_called and _has_constant(holed) and not is_telling(pattern[position])


def _has_constant(pattern: Pattern) -> bool:
    """True where a word is left to tell the pattern by."""
    return any(map(str.isalpha, pattern))


def _opened(words: Pattern, position: int) -> Pattern:
    if not _is_unit(words, position):
        return (*words[:position], WILDCARD, *words[position + 1 :])
    # A unit that varies belongs to its number: some function wrote both, and wrote the line's other sizes too.
    is_size = words[position] in _SIZES
    parts = list(words)
    for at in range(2, len(parts)):
        if at == position or (is_size and parts[at] in _SIZES and _is_unit(words, at)):
            parts[at - 1 : at + 1] = ("", "")
    return tuple(parts)


def _is_unit(pattern: Pattern, position: int) -> bool:
    """True for a unit after its number."""
    return position >= 2 and pattern[position] in _UNITS and pattern[position - 2 : position] == (WILDCARD, " ")


def _is_named(pattern: Pattern, position: int) -> bool:
    before = pattern[max(position - 3, 0) : position]
    if before[-1:] in (('"',), ("'",)):
        before = before[:-1]
    if before[-1:] == ("=",):
        return True
    return before[-1:] in ((" ",), (":",)) and before[-2].lower() in _ANNOUNCING if len(before) > 1 else False

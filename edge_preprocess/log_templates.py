"""Streaming template mining with one configuration for every system.

Typed variables are found by form (log_masking), other variables by evidence (log_patterns). A template's id is a hash
of its text, so that restarts and other edges give the same ids.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_preprocess.log_counters import counters_of
from edge_preprocess.log_headers import split_header
from edge_preprocess.log_masking import WILDCARD, Masked, VariableKind, mask
from edge_preprocess.log_patterns import Evidence, Pattern, PatternSet
from edge_preprocess.log_severity import graver, severity_of_level, severity_of_words
from edge_preprocess.log_state import STATE_VERSION, read_saved_miner

if TYPE_CHECKING:
    from edge_preprocess.log_counters import LogCounter
    from edge_preprocess.log_state import SavedMiner
    from telemetry_sim.records import Severity

ID_VERSION = "t1"
"""Changes with every change of the rules that would give a line another template."""
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_HEX = re.compile(rb"0x[0-9a-fA-F]+")
_RUN = re.compile(r"0x[0-9a-fA-F]+|\d+", re.ASCII)
_NUMERIC = frozenset({VariableKind.NUMBER, VariableKind.QUANTITY, VariableKind.HEX})
_NUMBER = re.compile(
    r"0[xX](?P<hex>[0-9a-fA-F]{1,32})$|(?P<decimal>[+\-]?\d{1,300}(?:\.\d{1,300})?(?:[eE][+\-]?\d{1,4})?)(?![.\d])"
)
_REPEATED = re.compile(r"<\*>(?:\.?<\*>)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerLimits:
    """Bounds on memory."""

    max_templates: int = 2_000
    """When full, the quarter that was seen longest ago is forgotten."""
    max_shapes: int = 20_000
    """Line shapes remembered; forgetting one costs time, never a result."""


class LogParameter(NamedTuple):
    """One variable part of a line; `text` is the device's own and never leaves the edge."""

    kind: VariableKind
    text: str

    @property
    def number(self) -> float | None:
        """The value, without its unit; None for what is no finite number."""
        found = _NUMBER.match(self.text)
        if found is None or self.kind not in _NUMERIC:
            return None
        value = float(int(found["hex"], 16)) if found["hex"] else float(found["decimal"])
        return value if isfinite(value) else None


class LogTemplate:
    """One kind of line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.template_id = template_id_of(text)
        """Stable across restarts and between edges."""
        self.count = 0
        self.last_seen = 0
        """Number of the line that showed it last."""
        self.merged_into: LogTemplate | None = None
        """What it turned out to be a case of."""

    @cached_property
    def severity(self) -> Severity | None:
        """What its words say; None for plain information."""
        return severity_of_words(self.text)

    @cached_property
    def counters(self) -> tuple[LogCounter, ...]:
        """The named counters that a line of it adds one to."""
        return counters_of(self.text)

    def current(self) -> LogTemplate:
        """The template that this one has become part of, or itself."""
        template = self
        while template.merged_into is not None:
            template = template.merged_into
        return template


class _Shape(NamedTuple):
    """What is remembered for lines that differ in their digits alone."""

    template: LogTemplate
    codes: tuple[tuple[int, str], ...]
    """Runs of digits that belong to constant words, which the shape does not show: index from the end, and digits."""
    severity: Severity | None
    """What the level says."""


class LogMatch:
    """What one line turned out to be, as far as is known now: a later merge moves it along."""

    __slots__ = ("_line", "_miner", "_template", "is_new", "level_severity")

    def __init__(
        self, template: LogTemplate, line: str, level_severity: Severity | None, is_new: bool, miner: LogTemplateMiner
    ) -> None:
        self._template = template
        self._line = line
        self.level_severity = level_severity
        """What the line's level says."""
        self._miner = miner
        self.is_new = is_new
        """True for the first line of a template."""

    @property
    def kind(self) -> LogTemplate:
        """The template with its counts."""
        return self._template.current()

    @property
    def template_id(self) -> str:
        """Stable across restarts and between edges."""
        return self.kind.template_id

    @property
    def template(self) -> str:
        """The constant text, with `<*>` for each variable."""
        return self.kind.text

    @property
    def severity(self) -> Severity | None:
        """The graver of what level and words say; None for plain information."""
        return graver(self.level_severity, self.kind.severity)

    @property
    def counters(self) -> tuple[LogCounter, ...]:
        """The named counters that this line adds one to."""
        return self.kind.counters

    @property
    def parameters(self) -> tuple[LogParameter, ...]:
        """The variable parts in order of appearance; found when asked for."""
        return self._miner.parameters(self._line)


class LogTemplateMiner:
    """Templates of a stream of lines, learned as they come."""

    def __init__(self, limits: MinerLimits | None = None, evidence: Evidence | None = None) -> None:
        self._limits = limits or MinerLimits()
        self._patterns = PatternSet(evidence or Evidence())
        self._of_pattern: dict[Pattern, LogTemplate] = {}
        self._of_text: dict[str, LogTemplate] = {}
        self._shapes: dict[bytes, _Shape] = {}
        self._contents: dict[bytes, _Shape] = {}
        self.num_lines = 0
        """Observed so far."""
        self.num_forgotten = 0
        """Templates given up because there were too many."""

    def observe(self, line: str) -> LogMatch:
        """The template of the line, which is learned from it if need be."""
        shape = _shape_of(line)
        known = self._shapes.get(shape)
        if known is None or (known.codes and not _has_codes(line, known.codes)):
            known = self._learn(line, shape)
        template = known.template
        if template.merged_into is not None:
            template = template.current()
            self._shapes[shape] = known._replace(template=template)
        self.num_lines += 1
        template.count += 1
        template.last_seen = self.num_lines
        return LogMatch(template, line, known.severity, template.count == 1, self)

    @property
    def templates(self) -> tuple[LogTemplate, ...]:
        """The templates known now, most frequent first."""
        return tuple(sorted(self._of_text.values(), key=lambda template: (-template.count, template.template_id)))

    def parameters(self, line: str) -> tuple[LogParameter, ...]:
        """The variable parts of a line, by what is known now."""
        content = line[split_header(line).content_start :].strip()
        masked = mask(content)
        pattern = self._patterns.canonical(tuple(masked.words))
        found: list[LogParameter] = []
        for index, (word, known, kind) in enumerate(zip(masked.words, pattern, masked.kinds, strict=True)):
            text = content[masked.starts[index] : masked.ends[index]]
            if known == "" and word != " ":
                found[-1] = LogParameter(VariableKind.QUANTITY, f"{found[-1].text} {text}")
            elif kind is not None or word != known != "":
                found.append(LogParameter(kind or VariableKind.WORD, text))
        return tuple(found)

    def to_state(self) -> dict[str, Any]:
        """What was learned, as JSON-ready values; it holds log text and stays at the edge."""
        return {
            "version": STATE_VERSION,
            "rules": ID_VERSION,
            "num_lines": self.num_lines,
            "num_forgotten": self.num_forgotten,
            "slots": [list(slot) for slot in self._patterns.opened],
            "patterns": [list(pattern) for pattern in self._of_pattern],
            "counts": {template.text: [template.count, template.last_seen] for template in self._of_text.values()},
        }

    @classmethod
    def from_state(cls, state: object, limits: MinerLimits | None = None) -> LogTemplateMiner:
        """A miner that goes on where the saved one stopped."""
        saved = read_saved_miner(state, rules=ID_VERSION)
        miner = cls(limits)
        miner._restore(saved)
        return miner

    def _restore(self, saved: SavedMiner) -> None:
        for slot in saved.slots:
            self._patterns.reopen(slot)
        for pattern in saved.patterns:
            placed = self._patterns.place(pattern)
            self._follow_moves()
            self._named(placed)
        for text, (count, last_seen) in saved.counts.items():
            if text in self._of_text:
                self._of_text[text].count, self._of_text[text].last_seen = count, last_seen
        self.num_lines, self.num_forgotten = saved.num_lines, saved.num_forgotten

    def _learn(self, line: str, shape: bytes) -> _Shape:
        header = split_header(line)
        content = line[header.content_start :].strip()
        # Headers vary more than contents do: a content may be known under another host's name.
        content_shape = _shape_of(content)
        known = self._contents.get(content_shape)
        if known is None or (known.codes and not _has_codes(content, known.codes)):
            known = self._contents[content_shape] = self._mine(content)
        if len(self._shapes) >= self._limits.max_shapes:
            self._shapes.clear()
            self._contents.clear()
        known = self._shapes[shape] = known._replace(severity=severity_of_level(header.level))
        return known

    def _mine(self, content: str) -> _Shape:
        masked = mask(content)
        pattern = self._patterns.place(tuple(masked.words))
        self._follow_moves()
        template = self._of_pattern.get(pattern)
        if template is None:
            if len(self._of_pattern) >= self._limits.max_templates:
                self._forget_oldest()
            template = self._named(pattern)
        return _Shape(template, _codes_of(content, masked) if masked.codes else (), None)

    def _named(self, pattern: Pattern) -> LogTemplate:
        text = _REPEATED.sub(WILDCARD, "".join(pattern))
        template = self._of_text.get(text)
        if template is None:
            template = self._of_text[text] = LogTemplate(text)
        self._of_pattern[pattern] = template
        return template

    def _follow_moves(self) -> None:
        for old, new in self._patterns.take_moves().items():
            before = self._of_pattern.pop(old, None)
            if before is None:
                continue
            before = before.current()
            after = (self._of_pattern.get(new) or self._named(new)).current()
            if after is not before:
                after.count += before.count
                after.last_seen = max(after.last_seen, before.last_seen)
                before.merged_into = after
                self._of_text.pop(before.text, None)

    def _forget_oldest(self) -> None:
        """Room for new templates; what is forgotten and comes again is new again."""
        oldest = sorted(self._of_text.values(), key=attrgetter("last_seen"))
        gone = {template.text for template in oldest[: max(len(oldest) // 4, 1)]}
        for pattern in [pattern for pattern, template in self._of_pattern.items() if template.current().text in gone]:
            del self._of_pattern[pattern]
            self._patterns.discard(pattern)
        for text in gone:
            del self._of_text[text]
        self.num_forgotten += len(gone)
        self._shapes.clear()
        self._contents.clear()


def _shape_of(text: str) -> bytes:
    """The text with every run of digits as one zero and every hexadecimal number as one."""
    shape = text.encode("utf-8", "surrogatepass").translate(_DIGITS_TO_ZERO)
    shape = shape.replace(b"0000", b"0").replace(b"000", b"0").replace(b"00", b"0").replace(b"00", b"0")
    return _HEX.sub(b"0x0", shape) if b"0x" in shape else shape


def _codes_of(content: str, masked: Masked) -> tuple[tuple[int, str], ...]:
    """The runs of digits in constant words, counted from the end, where a line and its content agree."""
    runs = list(_RUN.finditer(content))
    return tuple(
        (index - len(runs), run.group())
        for index, run in enumerate(runs)
        if any(start <= run.start() < end for start, end in masked.codes)
    )


def _has_codes(text: str, codes: tuple[tuple[int, str], ...]) -> bool:
    runs = _RUN.findall(text)
    return len(runs) >= -codes[0][0] and all(runs[index] == digits for index, digits in codes)


def template_id_of(text: str) -> str:
    """The id of a template's text: version, then 48 bits of its hash."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6, person=b"log-template")
    return f"{ID_VERSION}-{digest.hexdigest()}"

"""Streaming template mining with one configuration for every system.

Typed variables are found by form (log_masking), other variables by evidence (log_patterns). A template's id is a hash
of its text, so that restarts and other edges give the same ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from edge_preprocess.log_headers import split_header
from edge_preprocess.log_masking import WILDCARD, VariableKind, mask
from edge_preprocess.log_match import ID_VERSION, LogMatch, LogParameter, LogTemplate
from edge_preprocess.log_patterns import Evidence, Pattern, PatternSet
from edge_preprocess.log_severity import severity_of_level
from edge_preprocess.log_shapes import KnownShape, codes_of, has_codes, shape_of
from edge_preprocess.log_state import STATE_VERSION, read_saved_miner

if TYPE_CHECKING:
    from edge_preprocess.log_state import SavedMiner

_REPEATED = re.compile(r"<\*>(?:\.?<\*>)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerLimits:
    """Bounds on memory."""

    max_templates: int = 2_000
    """When full, the quarter that was seen longest ago is forgotten."""
    max_words: int = 100_000
    """Words of all templates together, so that long lines do not fill the memory; when full, as above."""
    max_shapes: int = 20_000
    """Line shapes remembered; forgetting one costs time, never a result."""
    max_shape_bytes: int = 4 << 20
    """Of all line shapes together."""


class LogTemplateMiner:
    """Templates of a stream of lines, learned as they come."""

    def __init__(self, limits: MinerLimits | None = None, evidence: Evidence | None = None) -> None:
        self._limits = limits or MinerLimits()
        self._patterns = PatternSet(evidence or Evidence())
        self._of_pattern: dict[Pattern, LogTemplate] = {}
        self._of_text: dict[str, LogTemplate] = {}
        self._shapes: dict[bytes, KnownShape] = {}
        self._contents: dict[bytes, KnownShape] = {}
        self._shape_bytes = 0
        self._parameters_of = self.parameters
        self.num_lines = 0
        """Observed so far."""
        self.num_forgotten = 0
        """Templates given up because there were too many."""

    def observe(self, line: str) -> LogMatch:
        """The template of the line, which is learned from it if need be."""
        shape = shape_of(line)
        known = self._shapes.get(shape)
        if known is None or (known.codes and not has_codes(line, known.codes)):
            known = self._learn(line, shape)
        template = known.template
        if template.merged_into is not None:
            template = template.current()
            self._shapes[shape] = known._replace(template=template)
        self.num_lines += 1
        template.count += 1
        template.last_seen = self.num_lines
        return LogMatch(template, line, known.severity, template.count == 1, self._parameters_of)

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
                found[-1] = LogParameter(VariableKind.QUANTITY, f"{found[-1].text} {text}", found[-1].stands_alone)
            elif kind is not None or word != known != "":
                found.append(LogParameter(kind or VariableKind.WORD, text, masked.stands_alone(index, content)))
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

    def _learn(self, line: str, shape: bytes) -> KnownShape:
        header = split_header(line)
        content = line[header.content_start :].strip()
        # Headers vary more than contents do: a content may be known under another host's name.
        content_shape = shape_of(content)
        known = self._contents.get(content_shape)
        if known is None or (known.codes and not has_codes(content, known.codes)):
            known = self._contents[content_shape] = self._mine(content)
            self._shape_bytes += len(content_shape)
        if len(self._shapes) >= self._limits.max_shapes or self._shape_bytes >= self._limits.max_shape_bytes:
            self._forget_shapes()
        self._shape_bytes += len(shape)
        known = self._shapes[shape] = KnownShape(known.template, known.codes, severity_of_level(header.level))
        return known

    def _mine(self, content: str) -> KnownShape:
        masked = mask(content)
        pattern = self._patterns.place(tuple(masked.words))
        self._follow_moves()
        template = self._of_pattern.get(pattern)
        if template is None:
            limits = self._limits
            if len(self._of_pattern) >= limits.max_templates or self._patterns.size >= limits.max_words:
                self._forget_oldest()
            self._patterns.drop_stale()
            template = self._named(pattern)
        return KnownShape(template, codes_of(content, masked) if masked.codes else (), None)

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
        self._forget_shapes()

    def _forget_shapes(self) -> None:
        self._shapes.clear()
        self._contents.clear()
        self._shape_bytes = 0

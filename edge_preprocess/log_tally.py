"""What the log lines of an interval amount to: ids, counts and fixed words; no text of a device."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_preprocess.log_intake import QuarantineReason, clean_line
from edge_preprocess.log_severity import graver
from edge_preprocess.log_templates import LogTemplateMiner

if TYPE_CHECKING:
    from edge_preprocess.log_counters import LogCounter
    from edge_preprocess.log_intake import Cleaning
    from edge_preprocess.log_match import LogMatch, LogTemplate
    from telemetry_sim.records import Severity

RARE_SHARE = 0.001
"""A template with fewer of all lines than this is rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTally:
    """The lines of one interval; received = accepted + quarantined."""

    num_received: int
    num_accepted: int
    num_quarantined: dict[QuarantineReason, int]
    num_cleaned: dict[Cleaning, int]
    """Lines that something was taken off, accepted ones for the most part."""
    counters: dict[LogCounter, int]
    """Most frequent first."""
    severities: dict[Severity, int]
    """Plain information is not counted here."""
    templates: dict[str, int]
    """Lines per template id, most frequent first."""
    new_templates: tuple[str, ...]
    """Ids first seen in the interval, in order of appearance."""
    rare_templates: tuple[str, ...]
    """Ids that few of all lines so far had, new ones included; empty until there are lines enough to tell."""


class LogDigester:
    """Log lines of one edge node, mined and counted per interval."""

    def __init__(self, miner: LogTemplateMiner | None = None) -> None:
        self.miner = miner or LogTemplateMiner()
        self._begin()

    def observe(self, raw: bytes | str) -> LogMatch | QuarantineReason:
        """What the line is, or why it could not be read; either way it is counted."""
        self._num_received += 1
        line = clean_line(raw, self._cleaned)
        if isinstance(line, QuarantineReason):
            self._quarantined[line] += 1
            return line
        match = self.miner.observe(line)
        key = (match.kind, match.level_severity)
        self._lines[key] = self._lines.get(key, 0) + 1
        if match.is_new:
            self._new.append(match)
        return match

    def refuse(self, reason: QuarantineReason) -> QuarantineReason:
        """Count a line that never became one, such as a piece too long to hold."""
        self._num_received += 1
        self._quarantined[reason] += 1
        return reason

    def close_interval(self) -> LogTally:
        """What came since the last call; the next interval begins empty."""
        templates: Counter[str] = Counter()
        counters: Counter[LogCounter] = Counter()
        severities: Counter[Severity] = Counter()
        # Templates may have merged during the interval, so they are looked up at its end.
        for (template, level_severity), count in self._lines.items():
            current = template.current()
            templates[current.template_id] += count
            counters.update(dict.fromkeys(current.counters, count))
            severity = graver(level_severity, current.severity)
            if severity is not None:
                severities[severity] += count
        tally = LogTally(
            num_received=self._num_received,
            num_accepted=self._num_received - self._quarantined.total(),
            num_quarantined=dict(self._quarantined.most_common()),
            num_cleaned=dict(self._cleaned.most_common()),
            counters=dict(sorted(counters.items(), key=lambda item: (-item[1], item[0]))),
            severities=dict(severities.most_common()),
            templates=dict(sorted(templates.items(), key=lambda item: (-item[1], item[0]))),
            rare_templates=self._rare(templates),
            new_templates=tuple(dict.fromkeys(match.template_id for match in self._new)),
        )
        self._begin()
        return tally

    def _rare(self, templates: Counter[str]) -> tuple[str, ...]:
        limit = RARE_SHARE * self.miner.num_lines
        if limit < 1:
            return ()
        counts = {template.current().template_id: template.current().count for template, _ in self._lines}
        return tuple(sorted(template_id for template_id in templates if counts[template_id] < limit))

    def _begin(self) -> None:
        self._num_received = 0
        self._quarantined: Counter[QuarantineReason] = Counter()
        self._cleaned: Counter[Cleaning] = Counter()
        self._lines: dict[tuple[LogTemplate, Severity | None], int] = {}
        self._new: list[LogMatch] = []

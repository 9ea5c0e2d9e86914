"""The report of a log: counts, counters and templates, as JSON or for the terminal."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_preprocess.errors import SourceUnreadable
from edge_preprocess.log_intake import MAX_LINE_BYTES

if TYPE_CHECKING:
    from edge_preprocess.log_tally import LogDigester, LogTally


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLine:
    """One template of the report."""

    template_id: str
    template: str
    count: int
    share: float
    """Of all lines accepted."""
    severity: str | None
    """From the template's words; a line's level may make it graver."""
    counters: tuple[str, ...]
    is_new: bool
    is_rare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What was read, and what it amounts to."""

    source: str
    tally: LogTally
    templates: tuple[TemplateLine, ...]
    """Most frequent first."""
    num_forgotten: int
    """Templates given up because there were too many."""

    def check(self) -> None:
        """Refuse a source of which not one line could be read."""
        if self.tally.num_received and not self.tally.num_accepted:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.tally.num_quarantined.items())
            raise SourceUnreadable(
                f"{self.source}: none of {self.tally.num_received} lines is readable ({reasons}), allowed are lines of "
                f"UTF-8 text, not empty, without NUL bytes, of at most {MAX_LINE_BYTES} bytes"
            )


def report_of(source: str, digester: LogDigester) -> LogReport:
    """What a digester has made of the lines since its last interval."""
    tally = digester.close_interval()
    new = set(tally.new_templates)
    rare = set(tally.rare_templates)
    lines = tuple(
        TemplateLine(
            template_id=template.template_id,
            template=template.text,
            count=tally.templates[template.template_id],
            share=round(tally.templates[template.template_id] / max(tally.num_accepted, 1), 6),
            severity=template.severity,
            counters=tuple(template.counters),
            is_new=template.template_id in new,
            is_rare=template.template_id in rare,
        )
        for template in digester.miner.templates
        if template.template_id in tally.templates
    )
    ordered = tuple(sorted(lines, key=lambda line: (-line.count, line.template_id)))
    return LogReport(source=source, tally=tally, templates=ordered, num_forgotten=digester.miner.num_forgotten)


def render_json(report: LogReport) -> str:
    """The report as one JSON document."""
    tally = report.tally
    document: dict[str, Any] = {
        "source": report.source,
        "lines": {
            "received": tally.num_received,
            "accepted": tally.num_accepted,
            "quarantined": tally.num_quarantined,
            "cleaned": tally.num_cleaned,
        },
        "counters": tally.counters,
        "severities": tally.severities,
        "num_templates": len(report.templates),
        "num_forgotten": report.num_forgotten,
        "templates": [asdict(line) for line in report.templates],
    }
    return json.dumps(document, ensure_ascii=True, indent=1)


def render_tables(report: LogReport, *, top: int, to_stderr: bool) -> None:
    """The report for people, on the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tally = report.tally
    console = Console(stderr=to_stderr)
    quarantined = ", ".join(f"{reason} {count}" for reason, count in tally.num_quarantined.items()) or "none"
    console.print(Text(f"{tally.num_received} lines, {tally.num_accepted} accepted, quarantined: {quarantined}"))
    if tally.num_cleaned:
        cleaned = ", ".join(f"{cleaning} {count}" for cleaning, count in tally.num_cleaned.items())
        console.print(Text(f"taken off: {cleaned}"))
    severities = ", ".join(f"{severity} {count}" for severity, count in tally.severities.items()) or "none"
    console.print(Text(f"severities: {severities}"))
    counters = ", ".join(f"{counter} {count}" for counter, count in tally.counters.items()) or "none"
    console.print(Text(f"counters: {counters}"))
    num_new, num_rare = sum(line.is_new for line in report.templates), sum(line.is_rare for line in report.templates)
    table = Table(title=f"{len(report.templates)} templates, {num_new} new, {num_rare} rare")
    for heading in ("lines", "id", "severity", "template"):
        table.add_column(heading, justify="right" if heading == "lines" else "left", overflow="fold")
    for line in report.templates[:top]:
        table.add_row(str(line.count), line.template_id, line.severity or "", Text(line.template[:400]))
    console.print(table)

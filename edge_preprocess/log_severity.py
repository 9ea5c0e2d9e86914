"""Severity of a log line from its level and its words. Source of the scale: ITU-T X.733, 8.1.2.3."""

from __future__ import annotations

import re

from edge_preprocess.log_quotations import own_words
from telemetry_sim.records import Severity

_BY_LEVEL = {
    **dict.fromkeys(("emerg", "emergency", "panic", "fatal", "crit", "critical", "alert"), Severity.CRITICAL),
    **dict.fromkeys(("f", "severe"), Severity.CRITICAL),
    **dict.fromkeys(("error", "err", "e", "failure"), Severity.MAJOR),
    **dict.fromkeys(("warn", "warning", "wrn", "w"), Severity.WARNING),
}
_ORDER = (Severity.WARNING, Severity.MINOR, Severity.MAJOR, Severity.CRITICAL)
_MNEMONIC = re.compile(r"%[A-Z][A-Z0-9_]*-(?P<digit>[0-7])-[A-Z0-9_]+")
"""Facility, severity and mnemonic, as routers and switches write them."""
_BY_DIGIT = (Severity.CRITICAL,) * 3 + (Severity.MAJOR, Severity.WARNING, None, None, None)
"""Source: RFC 5424, table 2."""
_LEADING_LEVEL = re.compile(
    r"\[?(?P<level>EMERG|PANIC|FATAL|CRIT|CRITICAL|ALERT|ERROR|ERR|WARN|WARNING|NOTICE|INFO|DEBUG)\b"
)
_CRITICAL_WORDS = re.compile(
    r"\b(?:panic|fatal|out of memory|oom[- ]?kill\w*|kernel bug|segfault|cell outage|out of service|emergency)\b",
    re.IGNORECASE,
)
_MAJOR_WORDS = re.compile(
    r"\b(?:error|errors|failed|failure|failures|fault|faults|crash\w*|corrupt\w*|outage|abort\w*|unavailable|lost|"
    r"severed|panicked|exception)\b",
    re.IGNORECASE,
)
_WARNING_WORDS = re.compile(
    r"\b(?:warning|warn|retry|retrying|retries|retransmission\w*|timeout|timed out|degraded|denied|refused|dropped|"
    r"low|slow|overload\w*|exceed\w*|expired|invalid|interference|skew|drift)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:no|zero|without|0) (?:error|errors|failure|failures|fault|faults)\b|\berrors?=0\b", re.IGNORECASE
)


def severity_of_level(level: str) -> Severity | None:
    """What a level's word (lower case) says; None for plain information."""
    return _BY_LEVEL.get(level)


def graver(first: Severity | None, second: Severity | None) -> Severity | None:
    """The graver of the two."""
    if first is None or second is None:
        return first or second
    return max(first, second, key=_ORDER.index)


def severity_of_words(text: str) -> Severity | None:
    """What a template's words say; None for plain information."""
    mnemonic = _MNEMONIC.search(text)
    if mnemonic:
        return _BY_DIGIT[int(mnemonic["digit"])]
    named = _LEADING_LEVEL.match(text)
    if named:
        return severity_of_level(named["level"].lower())
    text = _NEGATED.sub("", own_words(text))
    if _CRITICAL_WORDS.search(text):
        return Severity.CRITICAL
    if _MAJOR_WORDS.search(text):
        # Words alone are weaker evidence than a level.
        return Severity.MINOR
    if _WARNING_WORDS.search(text):
        return Severity.WARNING
    return None

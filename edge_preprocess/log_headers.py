"""Where a log line's header ends, found without being told the format.

A header is a run of fields: times, levels, process numbers, hosts, bracketed context, a component. It must hold a
time; a line without one is content from its first character.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class LogHeader(NamedTuple):
    """What stands before a line's content."""

    content_start: int
    """Index of the content's first character."""
    level: str
    """The level's word in lower case; empty where the line has none."""


_MAX_LEADING_FIELDS = 6
_MAX_FIELDS_BETWEEN = 4
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = r"\d{1,2}[:.]\d{2}[:.]\d{2}(?:[.,:]\d{1,9}(?:,\d{3})?)?(?:\ ?Z|\ ?[+\-]\d{2}:?\d{2})?"
_DATE = r"(?:\d{4}[\-/.]\d{1,2}[\-/.]\d{1,2}|\d{1,2}[\-/.]\d{1,2}[\-/.]\d{2,4})"
_AFTER = r"(?=[\s,\]|]|:\s|$)"
_TIME = re.compile(
    rf"""(?:\[\s*)?(?:
    (?:{_WEEKDAY},?\s+)?{_MONTH}\s+\d{{1,2}},?\s+(?:\d{{4}},?\s+)?{_CLOCK}(?:\s+[A-Z]{{3,4}}(?=\s\d))?(?:\s+\d{{4}})?
  | (?:{_DATE}|\d{{1,2}}[\-./]\d{{1,2}})[T\s_\-]{_CLOCK}
  | \d{{1,2}}/{_MONTH}/\d{{4}}:{_CLOCK}
  | \d{{8}}-\d{{1,2}}:\d{{1,2}}:\d{{1,2}}(?:[.,:]\d{{1,9}})?
  | \d{{6}}\s\d{{6}}
  | {_DATE}
  | {_CLOCK}
  | \d{{10}}(?:[.,]\d{{1,9}})?
  | \d{{13}}
  | \d+\.\d{{6,9}}
  | \d+\.\d{{3}}(?=\s\[)
    ){_AFTER}\]?:?[\s,]*""",
    re.VERBOSE,
)
_LEVELS = (
    "trace|debug|info|information|notice|warn|warning|error|err|severe|crit|critical|alert|emerg|emergency|fatal|panic"
    "|failure|verbose|fine|finer|finest|config|wrn|inf|dbg"
)
_LEVEL = re.compile(
    rf"[\[<]?(?P<word>(?i:{_LEVELS})(?=[\s,:\]>|)]|$)"
    r"|(?P<letter>[VDIWEF])(?=[\s\]])(?P<tagged>(?=\s+[^\s:]+\s*:\s))?)[\]>]?[\s,:]*"
)
_KEYED_LEVEL = re.compile(rf"\b(?:level|lvl|severity|loglevel)\"?\s*[=:]\s*\"?(?P<word>(?i:{_LEVELS}))\b")
_FIRMWARE = re.compile(r"(?P<word>[VDIWE]) \(\d+\) (?:[\w.\-]+: )?")
"""Level, uptime in milliseconds and component, as small devices write it."""
_LETTER_AND_DATE = re.compile(rf"(?P<word>[IWEF])\d{{4}}\s{_CLOCK}\s+\d+\s[\w.\-]+:\d+\]\s*")
_SYSLOG_FIELDS = re.compile(r"\S+ \S+ \S+ \S+ (?:-|\[[^\]]*\])(?:\s+|$)")
"""Host, application, process, message id and structured data. Source: RFC 5424, 6."""
_PRIORITY = re.compile(r"<\d{1,3}>(?P<version>1\s)?")
_FIELD = re.compile(r"(?P<text>\[[^\[\]]{1,40}\]|\S+)\s+")
_LEADING = re.compile(r"-\s|[A-Z]{1,40}\s|(?=\S{0,80}\d)\S{1,80}\s")
_PROCESS_NUMBER = re.compile(r"-?\d+\s+")
_BRACKET_BEFORE_DASH = re.compile(r"-?\s*\[.*?\]\s+-\s+")
_BRACKET_BEFORE_TAG = re.compile(r"\[[^\[\]]*\]\s+(?=[\w.$]+:\s)")
_PIPED = re.compile(r"\|(?:[\w.$\-]+\|)+")
_LEVEL_TAG = re.compile(r"[A-Za-z_][\w.$/\-]*\s*:(?:\s+|$)")
_LOGGER = re.compile(r"[A-Za-z_]\w*(?:\.[\w$]+)+\s+(?:\[(?:req-[^\[\]]*|-)\]\s*)?")
_COLUMN = re.compile(r"[A-Za-z_][\w.$\-]*\s\s+")
_PROGRAM = re.compile(r"[A-Za-z_][\w.\-]*(?:\s\*\d+)?\s-\s+")
_HOST = re.compile(r"[^\s:\[\]]+\s+")
_TAG = re.compile(
    r"(?:[^\s:\[\]]+(?:\s[\w.\-]+)?(?:\[[\w.]*\])?|[\w.\-]+(?:\s[\w.\-()]+){1,3}\[\d+\])(?:\s\([^()\s]*\))?:(?:\s+|$)"
)
_DASH = re.compile(r"-\s+")


def split_header(line: str) -> LogHeader:
    """The line's header, judged from this line alone."""
    lettered = _FIRMWARE.match(line) or _LETTER_AND_DATE.match(line)
    if lettered:
        return LogHeader(lettered.end(), lettered["word"].lower())
    time = _first_time(line)
    if time is None:
        return LogHeader(0, _keyed_level(line))
    position, is_columnar = time
    fields = _SYSLOG_FIELDS.match(line, position) if _has_version(line) else None
    if fields:
        return LogHeader(fields.end(), "")
    position, level, has_component = _to_level(line, position)
    if level:
        return LogHeader(_after_level(line, position, has_component), level)
    return LogHeader(_after_time(line, position, is_columnar), _keyed_level(line))


def _has_version(line: str) -> bool:
    priority = _PRIORITY.match(line)
    return priority is not None and priority["version"] is not None


def _keyed_level(line: str) -> str:
    found = _KEYED_LEVEL.search(line)
    return found["word"].lower() if found else ""


def _first_time(line: str) -> tuple[int, bool] | None:
    """Where the first time ends, and whether other fields stand before it."""
    priority = _PRIORITY.match(line)
    position = priority.end() if priority else 0
    found = _TIME.match(line, position)
    if found:
        return found.end(), False
    if not _LEADING.match(line, position):
        return None
    for _ in range(_MAX_LEADING_FIELDS):
        field = _FIELD.match(line, position)
        if field is None:
            return None
        position = field.end()
        found = _TIME.match(line, position)
        if found:
            return found.end(), True
    return None


def _to_level(line: str, position: int) -> tuple[int, str, bool]:
    """The end of the last time or of the level, the level, and whether a component's name stood between them."""
    anchor = cursor = position
    passed: list[str] = []
    while len(passed) <= _MAX_FIELDS_BETWEEN:
        time = _TIME.match(line, cursor)
        if time:
            anchor = cursor = time.end()
            passed.clear()
            continue
        level = _LEVEL.match(line, cursor)
        if level and level.end() < len(line) and _is_level(level, passed):
            # A host's name is rarely all capitals, a subsystem's name before the level mostly is.
            has_component = any(field.isalpha() and field.isupper() for field in passed)
            return level.end(), level["word"].lower(), has_component
        field = _FIELD.match(line, cursor)
        if field is None or field["text"].endswith(":"):
            break
        passed.append(field["text"])
        cursor = field.end()
    return anchor, "", False


def _is_level(found: re.Match[str], passed: list[str]) -> bool:
    """Whether a level's word or letter is one, given the fields between the time and it."""
    if found["letter"] and found["tagged"] is None:
        return bool(passed) and all(field.startswith("[") or any(map(str.isdigit, field)) for field in passed)
    return found["word"].isupper() or not any(map(_has_letter, passed))


def _has_letter(field: str) -> bool:
    return any(map(str.isalpha, field))


def _after_level(line: str, position: int, has_component: bool) -> int:
    for pattern in (_BRACKET_BEFORE_DASH, _BRACKET_BEFORE_TAG, _DASH):
        bracket = pattern.match(line, position)
        if bracket:
            position = bracket.end()
            if pattern is not _BRACKET_BEFORE_TAG:
                return position
            break
    if has_component:
        return position
    for pattern in (_LEVEL_TAG, _COLUMN, _LOGGER):
        found = pattern.match(line, position)
        if found:
            return found.end()
    return position


def _after_time(line: str, position: int, is_columnar: bool) -> int:
    piped = _PIPED.match(line, position)
    if piped:
        return piped.end()
    if is_columnar:
        number = _PROCESS_NUMBER.match(line, position)
        if number:
            return number.end()
    program = _PROGRAM.match(line, position)
    if program:
        return program.end()
    host = _HOST.match(line, position)
    if host:
        tag = _TAG.match(line, host.end())
        if tag:
            return tag.end()
    return position

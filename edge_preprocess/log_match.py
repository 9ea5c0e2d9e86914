"""A line's template and its parameters."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from edge_preprocess.log_counters import counters_of
from edge_preprocess.log_masking import VariableKind
from edge_preprocess.log_severity import graver, severity_of_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_preprocess.log_counters import LogCounter
    from telemetry_sim.records import Severity

ID_VERSION = "t1"
"""Changes with every change of the rules that would give a line another template."""
_NUMERIC = frozenset({VariableKind.NUMBER, VariableKind.QUANTITY, VariableKind.HEX})
_NUMBER = re.compile(
    r"0[xX](?P<hex>[0-9a-fA-F]{1,32})$|(?P<decimal>[+\-]?\d{1,300}(?:\.\d{1,300})?(?:[eE][+\-]?\d{1,4})?)(?![.\d])"
)


class LogParameter(NamedTuple):
    """One variable part of a line; `text` is the device's own and never leaves the edge."""

    kind: VariableKind
    text: str
    stands_alone: bool = False
    """Neither glued to other characters nor beside another number, as the parts of addresses and call numbers are."""

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
        self.count = 0
        self.last_seen = 0
        """Number of the line that showed it last."""
        self.merged_into: LogTemplate | None = None
        """What it turned out to be a case of."""

    @cached_property
    def template_id(self) -> str:
        """Stable across restarts and between edges."""
        return template_id_of(self.text)

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


class LogMatch:
    """What one line turned out to be, as far as is known now: a later merge moves it along."""

    __slots__ = ("_line", "_parameters_of", "_template", "is_new", "level_severity")

    def __init__(
        self,
        template: LogTemplate,
        line: str,
        level_severity: Severity | None,
        is_new: bool,
        parameters_of: Callable[[str], tuple[LogParameter, ...]],
    ) -> None:
        self._template = template
        self._line = line
        self.level_severity = level_severity
        """What the line's level says."""
        self._parameters_of = parameters_of
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
        return self._parameters_of(self._line)


def template_id_of(text: str) -> str:
    """The id of a template's text: version, then 48 bits of its hash."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6, person=b"log-template")
    return f"{ID_VERSION}-{digest.hexdigest()}"

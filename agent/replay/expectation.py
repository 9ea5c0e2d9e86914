"""Recorded decisions that a replay is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import DecisionDrift
from agent.replay.decisions_file import DecisionRow, Decisions, DecisionsHeader, read_decisions
from agent.replay.drift import Drift, check_comparable, describe_drift, find_drift, parse_tolerances


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A decisions file with what may differ."""

    path: Path
    decisions: Decisions
    tolerances: Mapping[str, float]

    def check(self, header: DecisionsHeader) -> None:
        """Refuse a file about something else; raises AgentInputInvalid."""
        check_comparable(self.decisions.header, header)

    def compare(self, rows: Sequence[DecisionRow], limit: int | None) -> tuple[Drift, ...]:
        """All differences."""
        return find_drift(rows, self.decisions, self.tolerances, limit=limit)

    def told_met(self, num_decisions: int) -> str:
        """The line that says that a replay has met it."""
        one = num_decisions == 1
        within = ", within the tolerances given" if self.tolerances else ""
        return (
            f"{num_decisions} decision{'' if one else 's'} equal to {'that' if one else 'those'} in {self.path}{within}"
        )

    def raise_on(self, drifts: Sequence[Drift], num_decisions: int) -> None:
        """Raises DecisionDrift that names the first differences."""
        if drifts:
            raise DecisionDrift(describe_drift(drifts, num_decisions, str(self.path)))


def read_expectation(path: Path, tolerances: Sequence[str]) -> Expectation:
    """The file and the tolerances; raises AgentInputInvalid."""
    return Expectation(path=path, decisions=read_decisions(path), tolerances=parse_tolerances(tolerances))

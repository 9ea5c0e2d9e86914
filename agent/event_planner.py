"""Planning on events: the model is asked where a digest or a goal asks for it; elsewhere the policy stays in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms, PerSlice
from agent.planner import CellDecision, Decision, Planner, Source
from agent.utility import expected_load
from edge_preprocess.digest import AnomalyKind, EdgeDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """What is reason enough to plan anew."""

    load_change_pct: float = 5.0
    """A slice's foreseen load, in percent of the cell's PRBs or of its edge CPU, has moved by more than this."""
    longest_rest: int = 6
    """Intervals after which a policy is looked at again in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A cell as it was when a plan was last asked for."""

    end_s: float
    load_pct: PerSlice
    task_load_pct: PerSlice
    missed: tuple[bool, ...]
    is_up: tuple[bool, ...]
    anomalies: frozenset[AnomalyKind]
    goal: bytes
    num_rested: int = 0


@dataclass(slots=True, kw_only=True)
class EventPlanner:
    """Asks another planner for the cells in which something happened; the others keep what they have."""

    planner: Planner
    triggers: Triggers = field(default_factory=Triggers)
    _known: dict[int, _Known] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The planner's own with what is special about it."""
        return f"{self.planner.name}_on_events"

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        """One decision per digest, in order; a cell at rest has no plan and a note."""
        seen = [_know(digest, term) for digest, term in zip(digests, terms, strict=True)]
        reasons = [self._reason(digest.cell, now) for digest, now in zip(digests, seen, strict=True)]
        due = [place for place, reason in enumerate(reasons) if reason]
        asked = self.planner.decide([digests[i] for i in due], [terms[i] for i in due], [current[i] for i in due])
        cells = [CellDecision(cell=d.cell, plan=None, source=Source.NONE, note="nothing happened") for d in digests]
        for place, decided in zip(due, asked.cells, strict=True):
            note = "; ".join(filter(None, (f"asked for {reasons[place]}", decided.note)))
            cells[place] = replace(decided, note=note)
        for digest, now, reason in zip(digests, seen, reasons, strict=True):
            before = self._known.get(digest.cell)
            rests = before is not None and not reason
            self._known[digest.cell] = replace(before, num_rested=before.num_rested + 1) if before and rests else now
        return Decision(planner=self.name, cells=tuple(cells), elapsed_s=asked.elapsed_s)

    def _reason(self, cell: int, now: _Known) -> str:
        """Why a plan is due; empty where none is."""
        before = self._known.get(cell)
        if before is None or now.end_s <= before.end_s:
            return "a first plan"
        moved = max(_most_moved(now.load_pct, before.load_pct), _most_moved(now.task_load_pct, before.task_load_pct))
        happened = {
            "another goal": now.goal != before.goal,
            "a cell that went or came": now.is_up != before.is_up,
            "an anomaly": not now.anomalies <= before.anomalies,
            "a missed SLA": any(late and not was for late, was in zip(now.missed, before.missed, strict=True)),
            "another load": moved > self.triggers.load_change_pct,
            "its age": before.num_rested + 1 >= self.triggers.longest_rest,
        }
        return next((reason for reason, holds in happened.items() if holds), "")


def _know(digest: EdgeDigest, terms: GoalTerms) -> _Known:
    load = expected_load(digest, terms)
    goal = (terms.weight, terms.floor, terms.target, terms.delay_budget_ms, terms.ue_rate_cap_mbps)
    return _Known(
        end_s=digest.end_s,
        load_pct=load.load_pct,
        task_load_pct=load.task_load_pct,
        missed=tuple(row.in_time_ratio < target for row, target in zip(digest.slices, terms.target, strict=True)),
        is_up=(digest.is_up, *(neighbour.is_up for neighbour in digest.neighbours)),
        anomalies=frozenset(anomaly.kind for anomaly in digest.anomalies),
        goal=b"".join(column.tobytes() for column in goal) + repr(terms.energy_weight).encode(),
    )


def _most_moved(now: PerSlice, before: PerSlice) -> float:
    """Greatest difference; loads beyond the cell's capacity ask for the same, however far beyond."""
    return float(np.abs(np.minimum(now, 200.0) - np.minimum(before, 200.0)).max(initial=0.0))

"""Planners: digests and goals in, one plan per cell out, with an account of where each plan came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Protocol

from agent import baselines
from agent.cell_plan import CellPlan, to_actions
from agent.errors import ModelUnavailable, PolicyInvalid
from agent.expert import Expert, Foresight
from agent.goal import GoalTerms
from agent.guardrails import GuardRails, project
from agent.models.port import PolicyModel
from agent.optimiser import plan_cell
from agent.policy import ReasonCode, SchedulingPolicy
from agent.prompting import Prompt, parse_answer
from agent.twin import Outlook, Twin
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import ControlAction
from telemetry_sim.topology import Topology


class Source(StrEnum):
    """Who wrote a cell's plan."""

    MODEL = "model"
    REPAIRED = "repaired"
    """The model's, after projection on the feasible set."""
    FALLBACK = "fallback"
    """The expert's, or what is in force: the model was away, invalid, or worse in the twin."""
    FORMULA = "formula"
    """A planner without a model."""
    NONE = "none"
    """No plan: the cell keeps what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellDecision:
    """One cell's plan and its evidence."""

    cell: int
    plan: CellPlan | None
    source: Source
    prompt: str = ""
    answer: str = ""
    is_valid: bool = True
    """Whether the model's answer was valid before any repair."""
    repairs: tuple[str, ...] = ()
    twin_utility: float | None = None
    """Of the dispatched plan."""
    twin_alternative: float | None = None
    """Of the best alternative: the expert's plan or the one in force."""
    expected_in_time: tuple[float, ...] | None = None
    """What the twin expects of each slice under the dispatched plan."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All cells' decisions of one interval."""

    planner: str
    cells: tuple[CellDecision, ...]
    elapsed_s: float = 0.0
    policy: SchedulingPolicy | None = None
    """As a server wrote it; None where it is still to be written."""

    def actions(self, topology: Topology, terms: Sequence[GoalTerms]) -> tuple[ControlAction, ...]:
        """What all plans come to; `terms` are those that the cells were decided under, in order."""
        pairs = zip(self.cells, terms, strict=True)
        found = (to_actions(decided.plan, topology, term) for decided, term in pairs if decided.plan is not None)
        return tuple(chain.from_iterable(found))

    @property
    def reasons(self) -> tuple[ReasonCode, ...]:
        """Of all plans, each once."""
        return tuple(
            dict.fromkeys(r for decided in self.cells if decided.plan is not None for r in decided.plan.reasons)
        )


class Planner(Protocol):
    """Decides for all cells at once, from digests and resolved goals alone."""

    @property
    def name(self) -> str:
        """Name in tables and logs."""
        ...

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        """One decision per digest, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaPlanner:
    """A planner that treats each cell by a formula."""

    name: str
    formula: Callable[[EdgeDigest, GoalTerms], CellPlan]

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        began = time.perf_counter()
        cells = tuple(
            CellDecision(cell=d.cell, plan=self.formula(d, t), source=Source.FORMULA)
            for d, t in zip(digests, terms, strict=True)
        )
        return Decision(planner=self.name, cells=cells, elapsed_s=time.perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPlanner:
    """Does nothing: every cell keeps the network's initial state."""

    name: str = "do_nothing"

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del terms, current
        return Decision(
            planner=self.name, cells=tuple(CellDecision(cell=d.cell, plan=None, source=Source.NONE) for d in digests)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawModelPlanner:
    """The language model alone: grammar and budget mask, no repair, no gate; an unusable answer does nothing."""

    model: PolicyModel
    twin: Twin = field(default_factory=Twin)
    """What the prompt tells of the future."""
    name: str = "llm_raw"

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        del current
        began = time.perf_counter()
        cells = _ask(self.model, _foresee(self.twin, digests, terms))
        return Decision(planner=self.name, cells=cells, elapsed_s=time.perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedModelPlanner:
    """The language model behind projection and twin.

    Where its plan is clearly worse than the expert's or than what is in force, the better of these two is dispatched.
    """

    model: PolicyModel
    twin: Twin = field(default_factory=Twin)
    rails: GuardRails = field(default_factory=GuardRails)
    tolerance: float = 0.03
    """Twin utility that the model's plan may lie below the best alternative."""
    name: str = "llm_gated"

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        began = time.perf_counter()
        foreseen = _foresee(self.twin, digests, terms)
        asked = _ask(self.model, foreseen)
        cells = tuple(
            self._gate(raw, foresight, now) for raw, foresight, now in zip(asked, foreseen, current, strict=True)
        )
        return Decision(planner=self.name, cells=cells, elapsed_s=time.perf_counter() - began)

    def _gate(self, raw: CellDecision, foresight: Foresight, now: CellPlan) -> CellDecision:
        outlook = foresight.outlook
        expert = project(foresight.best, now, self.rails).plan
        fallback = outlook.best((expert, now))
        alternative = outlook.utility(fallback)
        evidence = replace(raw, twin_alternative=alternative)
        if raw.plan is not None:
            projected = project(raw.plan, now, self.rails)
            utility = outlook.utility(projected.plan)
            if utility >= alternative - self.tolerance:
                source = Source.REPAIRED if projected.repairs else Source.MODEL
                return _settle(evidence, projected.plan, source, outlook, repairs=projected.repairs)
            note = f"the twin puts the model's plan at {utility:.3f}, the alternative at {alternative:.3f}"
            evidence = replace(evidence, note=note)
        return _settle(evidence, fallback, Source.FALLBACK, outlook)


def baseline_planners() -> tuple[Planner, ...]:
    """Every planner without a model, from doing nothing to the optimiser."""
    return (
        KeepPlanner(),
        FormulaPlanner(name="uniform", formula=baselines.uniform),
        FormulaPlanner(name="proportional", formula=baselines.proportional),
        FormulaPlanner(name="proportional_fair", formula=baselines.proportional_fair),
        FormulaPlanner(name="edf", formula=baselines.earliest_deadline_first),
        FormulaPlanner(name="weighted_need", formula=baselines.weighted_need),
        FormulaPlanner(name="static_priority", formula=baselines.static_priority),
        optimiser_planner(),
    )


def optimiser_planner() -> FormulaPlanner:
    """The per-cell optimiser as a planner."""
    return FormulaPlanner(name="optimiser", formula=plan_cell)


def _settle(
    evidence: CellDecision, plan: CellPlan, source: Source, outlook: Outlook, *, repairs: tuple[str, ...] = ()
) -> CellDecision:
    return replace(
        evidence,
        plan=plan,
        source=source,
        repairs=repairs,
        twin_utility=outlook.utility(plan),
        expected_in_time=tuple(float(x) for x in outlook.expected_in_time(plan)),
    )


def _foresee(twin: Twin, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms]) -> tuple[Foresight, ...]:
    expert = Expert(twin=twin)
    return tuple(expert.foresee(digest, term) for digest, term in zip(digests, terms, strict=True))


def _ask(model: PolicyModel, foreseen: Sequence[Foresight]) -> tuple[CellDecision, ...]:
    """The model's own decisions; a cell whose answer can't be used has no plan and says why."""
    prompts = tuple(foresight.prompt for foresight in foreseen)
    try:
        answers = model.answer(prompts)
    except ModelUnavailable as error:
        return tuple(
            CellDecision(cell=p.cell, plan=None, source=Source.NONE, prompt=p.text, is_valid=False, note=str(error))
            for p in prompts
        )
    return tuple(_read(prompt, answer.text) for prompt, answer in zip(prompts, answers, strict=True))


def _read(prompt: Prompt, answer: str) -> CellDecision:
    try:
        plan = parse_answer(answer, prompt)
    except PolicyInvalid as error:
        return CellDecision(
            cell=prompt.cell,
            plan=None,
            source=Source.NONE,
            prompt=prompt.text,
            answer=answer,
            is_valid=False,
            note=str(error),
        )
    if not plan.is_within_budget:
        return CellDecision(
            cell=prompt.cell,
            plan=None,
            source=Source.NONE,
            prompt=prompt.text,
            answer=answer,
            note="shares exceed the budget",
        )
    return CellDecision(cell=prompt.cell, plan=plan, source=Source.MODEL, prompt=prompt.text, answer=answer)

"""Digest and goal to prompt, answer to plan: the one place that knows the language the policy model speaks.

A prompt is a line for the cell, then a numbered line per slice; every number is an integer of at most three digits:

    cell load=96 near=71 up=1 cpu=80 back=12 save=0 log=2
    slice=1 w=40 need=31 low=22 mid=26 load=44 now=20 q=34 d=26 t=13 sd=23 floor=0 task=25 dl=17 tt=9
    lag split=12/15/40 pool=0/23 even=31/52
    plan

`save` is percent of weight on energy, 0 where a lower power would cost more than it saves;
`w` is the slice's part of the goal's weight, `need` and `now` are percent of the cell's PRBs, `low` and `mid` the
percents at which a fifth and three fifths of the SLA's credit can be expected, `load` half percents of them and `task`
percent of its edge CPU; `q` the packets that arrive in one delay budget and `d` the delay budget in twentieths of a
decade, `dl` the task deadline, `tt` the tasks per deadline and `t` one over the loss that the SLA allows in tenths of a
decade; `sd` is the demand's deviation in percent. `lag` says how far three kinds of shares fall behind the best of them
by the twin's word, in thousandths of worth: a split by need under the schedulers of a rule, under PF and under EDF, no
guarantees under PF and EDF, even ones under PF and EDF; where no twin was asked, the line is absent. The answer is one
JSON object whose keys "1", "2", … are the slices. Nothing a device wrote as text appears in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import MaxLen, MinLen
from jaxtyping import Bool, Float64
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from agent.cell_plan import POWER_STEPS_DB, REPORT_INTERVALS_S, CellPlan, SlicePlan, Tier
from agent.errors import PolicyInvalid
from agent.goal import GoalTerms, PerSlice
from agent.policy import ReasonCode
from agent.utility import (
    CellLoad,
    demand_factors,
    expected_load,
    in_time_fraction,
    sla_credit,
    worthwhile_energy_weight,
)
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import Scheduler

TEMPLATE = "cell-plan-5"
"""Version of prompt and answer; weights are trained for one template."""

_MOST = 300
_MOST_NUMBER = 999
"""The greatest number that is one token."""
_NEED_GRID = np.arange(0.0, 301.0)
_LOW_CREDIT, _MID_CREDIT = 0.2, 0.6
_MAX_REASONS = 2


class _SliceAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    min: int
    sch: str
    cpu: int
    off: str
    rep: int


class _CellAnswer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    pow: int
    why: Annotated[list[str], MinLen(1), MaxLen(_MAX_REASONS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model reads for one cell, and what its answer must fit."""

    cell: int
    text: str
    num_slices: int
    order: tuple[int, ...] = ()
    """Row of the digest that each numbered slice stands for; empty: as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lags:
    """How much less than the best each kind of plan is worth, as the twin foresees it; all well is worth 1."""

    split: tuple[float, ...]
    """The optimiser's shares under its own schedulers, PF for all and EDF for all."""
    pool: tuple[float, ...]
    """No guarantees; PF, EDF."""
    even: tuple[float, ...]
    """Even guarantees; PF, EDF."""


def write_prompt(digest: EdgeDigest, terms: GoalTerms, lags: Lags | None = None) -> Prompt:
    """The prompt of one cell; without `lags` no word of what the twin foresees."""
    load = expected_load(digest, terms)
    lines = [_cell_line(digest, load, terms)]
    columns = _slice_columns(digest, load, terms)
    order = _canonical_order(columns)
    for number, row in enumerate(order, start=1):
        fields = (f"{name}={int(column[row])}" for name, column in columns.items())
        lines.append(f"slice={number} " + " ".join(fields))
    if lags is not None:
        lines.append(_lag_line(lags))
    lines.append("plan\n")
    return Prompt(cell=digest.cell, text="\n".join(lines), num_slices=len(order), order=order)


def write_answer(plan: CellPlan, order: tuple[int, ...] = ()) -> str:
    """The answer a model should give to a prompt of that order, as compact JSON."""
    parts = [plan.slices[row] for row in order] or list(plan.slices)
    rows = {
        str(number): {
            "min": part.min_pct,
            "sch": part.scheduler.value,
            "cpu": part.compute_pct,
            "off": part.tier.value,
            "rep": part.report_interval_s,
        }
        for number, part in enumerate(parts, start=1)
    }
    rest = {"pow": plan.tx_power_step_db, "why": [reason.value for reason in plan.reasons[:_MAX_REASONS]]}
    return json.dumps({**rows, **rest}, separators=(",", ":"))


def answer_schema(num_slices: int) -> dict[str, object]:
    """JSON schema of an answer; what a schema can't say (sums) is the decoder's budget mask."""
    percent = {"type": "integer", "minimum": 0, "maximum": 100}
    part = {
        "min": percent,
        "sch": {"enum": [s.value for s in Scheduler]},
        "cpu": percent,
        "off": {"enum": [t.value for t in Tier]},
        "rep": {"enum": list(REPORT_INTERVALS_S)},
    }
    rows: dict[str, object] = {str(number): _closed_object(dict(part)) for number in range(1, num_slices + 1)}
    why = {
        "type": "array",
        "items": {"enum": [code.value for code in ReasonCode]},
        "minItems": 1,
        "maxItems": _MAX_REASONS,
    }
    return _closed_object({**rows, "pow": {"enum": list(POWER_STEPS_DB)}, "why": why})


def parse_answer(text: str, prompt: Prompt) -> CellPlan:
    """Read an answer strictly; raises PolicyInvalid with what is wrong and what was allowed."""
    try:
        rows, answer = _read_answer(text, prompt.num_slices)
        plan = CellPlan(
            cell=prompt.cell,
            slices=_in_digest_order(tuple(_parse_slice(part) for part in rows), prompt.order),
            tx_power_step_db=_one_of("pow", answer.pow, POWER_STEPS_DB),
            reasons=tuple(ReasonCode(code) for code in answer.why),
        )
    except (ValidationError, ValueError, RecursionError) as error:
        raise PolicyInvalid(f"answer {text[:200]!r}: {str(error)[:300]}") from error
    return plan


def needed_share_pct(load: CellLoad, target: PerSlice) -> PerSlice:
    """Least share of the PRBs ([S], 0-300) at which the slice's target of packets is in time."""
    ratio = in_time_fraction(
        load.packets_per_s * np.exp(load.spread), load.packets_per_s_full * _NEED_GRID[:, None] / 100.0, load.budget_s
    )
    return _first_share(ratio >= target)


def _first_share(reached: Bool[NDArray[np.bool_], "shares s"]) -> PerSlice:
    """Least share at which something holds; `_MOST` where none does."""
    return np.where(reached.any(axis=0), reached.argmax(axis=0), _MOST).astype(float)


def _expected_credit(load: CellLoad, target: PerSlice) -> Float64[NDArray[np.float64], "shares s"]:
    """Credit of each slice's SLA at each share of the grid, the mean over the likely demands."""
    packets_per_s = (load.packets_per_s * demand_factors(load.spread))[:, None, :]
    service_per_s = load.packets_per_s_full * _NEED_GRID[:, None] / 100.0
    mean: Float64[NDArray[np.float64], "shares s"] = sla_credit(
        in_time_fraction(packets_per_s, service_per_s, load.budget_s), target
    ).mean(axis=0)
    return mean


def _canonical_order(columns: dict[str, Float64[NDArray[np.float64], " s"]]) -> tuple[int, ...]:
    """Least need first, then by the other columns, greatest first; the configured order carries no meaning.

    Two digests that differ only in which of two like slices asks for how much so give the same prompt. Shares are
    written in this order, so what earlier ones are wrong by is left to the slice that needs most, where it tells least.
    """
    table = np.stack([-columns["need"], *(column for name, column in columns.items() if name != "need")])
    return tuple(int(row) for row in np.lexsort(-table[::-1]))


def _in_digest_order(parts: tuple[SlicePlan, ...], order: tuple[int, ...]) -> tuple[SlicePlan, ...]:
    if len(order) != len(parts):
        return parts
    return tuple(part for _, part in sorted(zip(order, parts, strict=True), key=lambda pair: pair[0]))


def _cell_line(digest: EdgeDigest, load: CellLoad, terms: GoalTerms) -> str:
    neighbours = [n.prb_utilisation for n in digest.neighbours if n.is_up]
    fields = {
        "load": load.load_pct.sum(),
        "near": 100.0 * max(neighbours, default=0.0),
        "up": float(digest.is_up and all(n.is_up for n in digest.neighbours)),
        "cpu": load.task_load_pct.sum(),
        "back": digest.backhaul_delay_ms,
        "save": 100.0 * worthwhile_energy_weight(digest, terms),
        "log": float(len(digest.anomalies)),
    }
    return "cell " + " ".join(f"{name}={_bounded(value)}" for name, value in fields.items())


def _lag_line(lags: Lags) -> str:
    fields = {"split": lags.split, "pool": lags.pool, "even": lags.even}
    told = (f"{name}={'/'.join(map(_permille, values))}" for name, values in fields.items())
    return "lag " + " ".join(told)


def _permille(value: float) -> str:
    return str(int(np.clip(round(1000.0 * value), 0, _MOST_NUMBER)))


def _slice_columns(
    digest: EdgeDigest, load: CellLoad, terms: GoalTerms
) -> dict[str, Float64[NDArray[np.float64], " s"]]:
    demand = np.array([row.demand_kbps for row in digest.slices])
    per_prb = np.array([row.kbps_per_prb for row in digest.slices])
    now_pct = 100.0 * demand / np.maximum(per_prb * digest.num_prb, 1e-9)
    credit = _expected_credit(load, terms.target)
    columns = {
        "w": 100.0 * terms.weight / terms.weight.sum(),
        "need": needed_share_pct(load, terms.target),
        "low": _first_share(credit >= _LOW_CREDIT),
        "mid": _first_share(credit >= _MID_CREDIT),
        # A point of rounding in a load moves the optimum by as much, so it is given more finely than shares are.
        "load": 2.0 * np.minimum(load.load_pct, _MOST),
        "now": np.minimum(now_pct, _MOST),
        "q": 2.0 * _decibel(load.packets_per_s * load.budget_s),
        "d": 2.0 * _decibel(1000.0 * load.budget_s),
        "t": -10.0 * np.log10(np.maximum(1.0 - terms.target, 1e-4)),
        "sd": 100.0 * load.spread,
        "floor": 100.0 * terms.floor,
        "task": np.minimum(load.task_load_pct, _MOST),
        "dl": _decibel(1000.0 * load.task_budget_s * (load.tasks_per_s > 0)),
        "tt": _decibel(load.tasks_per_s * load.task_budget_s),
    }
    table = np.clip(np.round(np.nan_to_num(np.stack(list(columns.values())))), 0, _MOST_NUMBER)
    return dict(zip(columns, table, strict=True))


def _decibel(value: Float64[NDArray[np.float64], " s"]) -> Float64[NDArray[np.float64], " s"]:
    return 10.0 * np.log10(1.0 + np.maximum(value, 0.0))


def _bounded(value: float) -> int:
    # In this order NaN becomes 0.
    return round(min(max(0.0, value), _MOST))


def _closed_object(properties: dict[str, object]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _read_answer(text: str, num_slices: int) -> tuple[list[_SliceAnswer], _CellAnswer]:
    document = json.loads(text, object_pairs_hook=_object_without_repeats)
    if not isinstance(document, dict):
        raise ValueError(f"expected an object, got {type(document).__name__}")  # noqa: TRY004 - pydantic raises it too
    numbers = [str(number) for number in range(1, num_slices + 1)]
    absent = [number for number in numbers if number not in document]
    if absent:
        raise ValueError(f"slices {absent} have no entry; the cell has {num_slices} slices")
    rows = [_SliceAnswer.model_validate(document.pop(number)) for number in numbers]
    return rows, _CellAnswer.model_validate(document)


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError(f"each key once, got {[key for key, _ in pairs]}")
    return document


def _parse_slice(part: _SliceAnswer) -> SlicePlan:
    percent = range(101)
    return SlicePlan(
        min_pct=_one_of("min", part.min, percent),
        scheduler=Scheduler(part.sch),
        compute_pct=_one_of("cpu", part.cpu, percent),
        tier=Tier(part.off),
        report_interval_s=_one_of("rep", part.rep, REPORT_INTERVALS_S),
    )


def _one_of(name: str, value: int, allowed: range | tuple[int, ...]) -> int:
    if value not in allowed:
        raise ValueError(f"{name}: {value} is not allowed; {allowed} are")
    return value

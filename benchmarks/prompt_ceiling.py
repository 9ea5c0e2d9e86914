"""What the prompt's whole numbers allow: the exact optimiser given only what the policy model is given.

.venv/bin/python benchmarks/prompt_ceiling.py --json

Each held-out digest is written as a prompt, read back into a digest from the prompt's numbers alone, and planned by the
optimiser. No model that reads the prompt can be expected to do better. One row tells three
columns half as finely; each of the others hides one.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from agent.cell_plan import CellPlan
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import Case, compare_plans, static_cases
from agent.prompting import write_prompt
from agent.utility import MODEL_SPREAD
from edge_preprocess.digest import EdgeDigest

_SEED = 987_654
"""Apart from every training seed."""
_FIELD = re.compile(r"(\w+)=(\d+)")
_PACKET_BITS = 1000.0
_COARSER = ("load", "q", "d")
"""Columns that one row tells half as finely: whole percents, tenths of a decade."""
_TYPICAL = {"t": 13.0, "sd": 22.0, "q": 40.0, "floor": 0.0, "w": 25.0}
"""What is put in place of a hidden column."""

Column = dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--instances", type=int, default=500)
    options = parser.parse_args()
    cases = static_cases(options.instances, seed=_SEED)
    rows = [_row("all columns", cases, {}), _row("load, q and d half as fine", cases, {}, coarser=_COARSER)]
    rows += [_row(f"without {name}", cases, {name: value}) for name, value in _TYPICAL.items()]
    if options.json:
        print(json.dumps({"instances": len(cases), "rows": rows}, indent=2))
        return
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))


def plan_from_prompt(
    digest: EdgeDigest, terms: GoalTerms, hidden: Mapping[str, float], coarser: Sequence[str] = ()
) -> CellPlan:
    """The optimiser's shares for the digest that the prompt describes.

    `hidden` columns are replaced, `coarser` ones rounded to even numbers.
    """
    prompt = write_prompt(digest, terms)
    columns: list[Column] = [
        {name: float(value) for name, value in _FIELD.findall(line)} | dict(hidden)
        for line in prompt.text.splitlines()
        if line.startswith("slice=")
    ]
    told = sorted(zip(prompt.order, columns, strict=True), key=lambda pair: pair[0])
    rows = [column | {name: 2.0 * round(column[name] / 2.0) for name in coarser} for _, column in told]
    plan = plan_cell(_digest(digest, rows), _terms(terms, rows))
    return replace(plan, cell=digest.cell)


def _digest(digest: EdgeDigest, rows: list[Column]) -> EdgeDigest:
    slices = tuple(_slice_fields(row) for row in rows)
    told = tuple(old.model_copy(update=new) for old, new in zip(digest.slices, slices, strict=True))
    return digest.model_copy(update={"slices": told, "num_prb": 100})


def _slice_fields(row: Column) -> dict[str, float]:
    budget_s = max(_level(row["d"] / 2.0), 0.1) / 1000.0
    demand_kbps = max(_level(row["q"] / 2.0), 0.05) / budget_s * _PACKET_BITS / 1000.0
    share = max(row["load"] / 2.0, 0.15) / 100.0
    deviation = np.sqrt(max((row["sd"] / 100.0) ** 2 - MODEL_SPREAD**2, 0.0))
    return {
        "delay_budget_ms": 1000.0 * budget_s,
        "packet_size_bits": _PACKET_BITS,
        "forecast_demand_kbps": demand_kbps,
        "forecast_deviation_kbps": float(deviation) * demand_kbps,
        "kbps_per_prb": demand_kbps / share / 100.0,
    }


def _terms(terms: GoalTerms, rows: list[Column]) -> GoalTerms:
    return replace(
        terms,
        weight=np.array([max(row["w"], 0.3) for row in rows]),
        floor=np.array([row["floor"] / 100.0 for row in rows]),
        target=np.array([1.0 - 10.0 ** (-row["t"] / 10.0) for row in rows]),
        delay_budget_ms=np.array([max(_level(row["d"] / 2.0), 0.1) for row in rows]),
        ue_rate_cap_mbps=np.full(len(rows), np.inf),
    )


def _level(decibel: float) -> float:
    return float(10.0 ** (decibel / 10.0) - 1.0)


def _row(
    name: str, cases: tuple[Case, ...], hidden: Mapping[str, float], coarser: Sequence[str] = ()
) -> dict[str, str | float]:
    score = compare_plans(cases, [plan_from_prompt(*case, hidden, coarser) for case in cases])
    return {
        "prompt": name,
        "ratio": round(score.ratio_mean, 4),
        "ratio, 1 % worst": round(score.ratio_p1, 4),
        "gap closed": round(score.gap_closed_mean, 4),
        "gap closed, 5 % worst": round(score.gap_closed_p5, 4),
        "share error, points": round(score.share_error_pct, 2),
    }


if __name__ == "__main__":
    main()

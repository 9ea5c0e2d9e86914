"""The embedded policy model measured alone: near the optimum, always valid, quick, and reading what it is given.

.venv/bin/python benchmarks/policy_model.py --json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import cache
from itertools import islice
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from agent.bootstrap import EMBEDDED_BASE, EMBEDDED_WEIGHTS
from agent.corpus_export import Site, site_cases
from agent.errors import AgentError
from agent.expert import Expert
from agent.goal import GoalTerms
from agent.guardrails import GuardRails, project
from agent.models.local import LocalModel, load_local_model
from agent.models.port import PolicyModel
from agent.optimiser import plan_cell
from agent.pretraining.evaluation import (
    LEAST_WORTH,
    Case,
    answered,
    compare_plans,
    raw_plans,
    score_static,
    static_cases,
)
from agent.pretraining.new_model import ModelSize, new_model
from agent.pretraining.tokenizer import save_tokenizer
from agent.prompting import Prompt, parse_answer, write_prompt
from agent.report.figures import Figure, as_text, figure
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.scenarios import list_scenarios

_SEED = 987_654
"""Of random cells, apart from every training seed."""
_SITE_SEED = 3_000
"""Of the sites' cells, likewise."""
_NUM_CORES = 2
_NUM_BATCHES = 5
_MOST_SLICES = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--instances", type=int, default=500, help="Static cases.")
    parser.add_argument("--policies", type=int, default=10_000, help="Answers checked for validity, of each model.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_local_model(str(options.model), adapter=options.adapter)
    figures = [
        *static(model, options.instances),
        *latency(model, options.model, options.adapter),
        *ablations(model, options.instances),
    ]
    figures += foresight(model, options.instances)
    with tempfile.TemporaryDirectory() as folder:
        figures += validity("embedded", model, options.policies)
        figures += validity("base", load_local_model(str(EMBEDDED_BASE)), options.policies)
        figures += validity("random weights", random_model(options.model, Path(folder)), options.policies)
    if options.json:
        print(json.dumps({"model": str(options.model), "figures": figures}, indent=2))
        return
    for one in figures:
        print(as_text(one))


def static(model: PolicyModel, num_instances: int) -> list[Figure]:
    """Raw plans against the exact integer optimum."""
    score = asdict(score_static(model, num_instances, seed=_SEED))
    return [
        figure("static: gap to the optimum closed, mean", score["gap_closed_mean"], 0.90),
        figure("static: gap to the optimum closed, 5th percentile", score["gap_closed_p5"], 0.75),
        figure("static: ratio to the optimum, mean", score["ratio_mean"], 0.98),
        figure("static: ratio to the optimum, 1st percentile", score["ratio_p1"], 0.90),
        *(
            figure(f"static: {name}", score[name])
            for name in ("share_error_pct", "uniform_ratio", "proportional_ratio", "heuristic_ratio")
        ),
    ]


def latency(model: PolicyModel, folder: Path, adapter: Path | None) -> list[Figure]:
    """One cell alone, then many in batches, the twin's foresight included; the number of devices adds no length."""
    expert = Expert()
    cases = _cells(4)
    alone_s = [_elapsed_s(lambda c=case: raw_plans(model, (c,), expert)) for case in cases[:60]]
    digest, terms = cases[0]
    lengths = [len(expert.foresee(_with_devices(digest, count), terms).prompt.text.split()) for count in (10, 10_000)]
    return [
        figure("latency: one cell alone, p95 ms", 1000 * float(np.percentile(alone_s, 95)), 300, at_most=True),
        figure("latency: cells a second in batches of 96, one process", _batch_rate(folder, adapter, 1)),
        figure(
            f"latency: cells a second in batches of 96, {_NUM_CORES} processes of one thread",
            _batch_rate(folder, adapter, _NUM_CORES),
            50,
        ),
        figure(
            f"latency: cells a second of {_MOST_SLICES} slices, whose prompts are the longest, {_NUM_CORES} processes",
            _batch_rate(folder, adapter, _NUM_CORES, num_slices=_MOST_SLICES),
            12,
        ),
        figure("prompt: words more at 10,000 devices than at 10", abs(lengths[1] - lengths[0]), 0, at_most=True),
    ]


@cache
def _cells(num_slices: int) -> tuple[Case, ...]:
    """A batch of 96."""
    return tuple(case for case in static_cases(2_500, seed=_SEED + 1) if len(case[0].slices) == num_slices)[:96]


def _batch_rate(folder: Path, adapter: Path | None, num_processes: int, *, num_slices: int = 4) -> float:
    """Cells a second of some processes at work together, from when the last is warm until the last has done."""
    context = multiprocessing.get_context("spawn")
    is_warm = context.Barrier(num_processes)
    with ProcessPoolExecutor(
        num_processes, mp_context=context, initializer=_prepare, initargs=(folder, adapter, is_warm, num_slices)
    ) as pool:
        spans = list(pool.map(_batches, range(num_processes)))
    began_s, ended_s = zip(*spans, strict=True)
    return num_processes * _NUM_BATCHES * len(_cells(num_slices)) / (max(ended_s) - min(began_s))


_WORKER: dict[str, Any] = {}


def _prepare(folder: Path, adapter: Path | None, is_warm: Barrier, num_slices: int) -> None:
    torch.set_num_threads(1)
    _WORKER.update(model=load_local_model(str(folder), adapter=adapter), is_warm=is_warm, cases=_cells(num_slices))


def _batches(_: int) -> tuple[float, float]:
    """When this process began and ended its batches, after a first one that warms up and a wait for the others."""
    expert = Expert()

    def answer_all() -> None:
        _WORKER["model"].answer(tuple(expert.foresee(*case).prompt for case in _WORKER["cases"]))

    answer_all()
    _WORKER["is_warm"].wait()
    began_s = time.monotonic()
    for _ in range(_NUM_BATCHES):
        answer_all()
    return began_s, time.monotonic()


def ablations(model: PolicyModel, num_instances: int) -> list[Figure]:
    """Ratio to the optimum lost when something is kept from the model; the plans are judged on the true case."""
    cases = static_cases(num_instances, seed=_SEED + 2)
    whole = compare_plans(cases, raw_plans(model, cases)).ratio_mean
    hidden: dict[str, Callable[[Sequence[Case]], Sequence[Case]]] = {
        "another cell's digest": _shuffled,
        "forecasts hidden": lambda given: [(_without_forecast(d), t) for d, t in given],
        "neighbours hidden": lambda given: [(d.model_copy(update={"neighbours": ()}), t) for d, t in given],
        "goal hidden": lambda given: [(d, _without_goal(t)) for d, t in given],
    }
    costs = {
        name: whole - compare_plans(cases, raw_plans(model, hide(cases))).ratio_mean for name, hide in hidden.items()
    }
    return [
        *(figure(f"ablation: ratio lost, {name}", cost) for name, cost in costs.items()),
        *_power_ablations(model, cases, hidden),
    ]


def _power_ablations(
    model: PolicyModel, cases: Sequence[Case], hidden: dict[str, Callable[[Sequence[Case]], Sequence[Case]]]
) -> list[Figure]:
    """Where the teacher lowers the power, how often the model does too; neighbours matter for nothing else."""
    taught = [plan_cell(*case).tx_power_step_db for case in cases]
    lowered = [place for place, step in enumerate(taught) if step < 0]

    def share_right(given: Sequence[Case]) -> float:
        plans = raw_plans(model, [given[place] for place in lowered])
        return float(np.mean([plan.tx_power_step_db == taught[p] for p, plan in zip(lowered, plans, strict=True)]))

    whole = share_right(cases)
    return [
        figure("power lowered as the teacher does, of the cases in which it does", whole),
        *(
            figure(f"ablation: power lowered rightly, lost, {name}", whole - share_right(hide(cases)))
            for name, hide in hidden.items()
            if name in {"neighbours hidden", "goal hidden"}
        ),
    ]


def foresight(model: PolicyModel, num_cases: int) -> list[Figure]:
    """What the `lag` line is worth: utility in the twin of raw plans for the sites' own cells, to the expert's."""
    expert = Expert()
    names = [summary.name for summary in list_scenarios()]
    each = -(-num_cases // len(names))
    cases = [
        case
        for name in names
        for case in islice(site_cases(Site(scenario=name), num_intervals=each, seed=_SITE_SEED, variants=2), each)
    ]
    foreseen = [expert.foresee(*case) for case in cases]
    lags = [one.lags for one in foreseen]
    half = len(lags) // 2
    prompts = {
        "told": [one.prompt for one in foreseen],
        "hidden": [write_prompt(*case) for case in cases],
        "another site's": [
            write_prompt(*case, other) for case, other in zip(cases, (*lags[half:], *lags[:half]), strict=True)
        ],
    }
    best = np.array([one.utilities.max() for one in foreseen])
    counts = best >= LEAST_WORTH

    def ratio(asked: Sequence[Prompt]) -> float:
        plans = answered(model, asked)
        worth = np.array([one.outlook.utility(plan) for one, plan in zip(foreseen, plans, strict=True)])
        return float((worth[counts] / best[counts]).mean())

    return [figure(f"foresight {name}: utility in the twin, to the expert's", ratio(p)) for name, p in prompts.items()]


def validity(name: str, model: PolicyModel, num_policies: int) -> list[Figure]:
    """Answers outside the schema, and plans still infeasible after projection."""
    invalid = infeasible = 0
    for start in range(0, num_policies, 32):
        cases = static_cases(min(32, num_policies - start), seed=_SEED + 10 + start)
        prompts = tuple(write_prompt(*case) for case in cases)
        for prompt, answer in zip(prompts, model.answer(prompts), strict=True):
            try:
                plan = project(parse_answer(answer.text, prompt), None, GuardRails()).plan
            except AgentError:
                invalid += 1
                continue
            infeasible += not plan.is_within_budget
    return [
        figure(f"validity: {name}, answers asked", num_policies, num_policies),
        figure(f"validity: {name}, schema-invalid answers", invalid, 0, at_most=True),
        figure(f"validity: {name}, infeasible after projection", infeasible, 0, at_most=True),
    ]


def random_model(like: Path, folder: Path) -> LocalModel:
    """A model that never learned anything, with the embedded one's tokenizer."""
    tokenizer = Tokenizer.from_file(str(like / "tokenizer.json"))
    new_model(tokenizer, ModelSize(), seed=_SEED).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return load_local_model(str(folder))


def _shuffled(cases: Sequence[Case]) -> list[Case]:
    """Each case with the digest of the next one that has as many slices; goals stay."""
    by_size: dict[int, list[int]] = {}
    for index, (digest, _) in enumerate(cases):
        by_size.setdefault(len(digest.slices), []).append(index)
    given = list(cases)
    for indices in by_size.values():
        for index, other in zip(indices, [*indices[1:], indices[0]], strict=True):
            given[index] = (cases[other][0], cases[index][1])
    return given


def _without_forecast(digest: EdgeDigest) -> EdgeDigest:
    rows = tuple(
        row.model_copy(update={"forecast_demand_kbps": row.demand_kbps, "forecast_deviation_kbps": 0.0})
        for row in digest.slices
    )
    return digest.model_copy(update={"slices": rows})


def _without_goal(terms: GoalTerms) -> GoalTerms:
    return replace(terms, weight=np.ones_like(terms.weight), floor=np.zeros_like(terms.floor), energy_weight=0.0)


def _with_devices(digest: EdgeDigest, num_devices: int) -> EdgeDigest:
    rows = tuple(row.model_copy(update={"num_devices": num_devices}) for row in digest.slices)
    return digest.model_copy(update={"slices": rows})


def _elapsed_s(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

"""How near the server's order comes to the lower bound, over random instances, and what switching an adapter costs.

.venv/bin/python benchmarks/sfl_schedule.py --json
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import sfl_paper
import torch
from transformers import BertConfig

from sfl_finetune.lora import AdapterSlots, LoraSettings
from sfl_finetune.schedule import Job, best_order, fifo, longest_backward_first, lower_bound, schrage
from sfl_finetune.split import server_segment
from sfl_finetune.workload import model_of

_NUM_EXACT = 60
"""Instances whose orders are all tried."""


def main() -> None:
    """Print the figures, or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    large = _large(options.instances, np.random.default_rng([options.seed, 1]))
    figures = [*_exact(np.random.default_rng([options.seed, 2])), *large["figures"], *_switching()]
    document = {
        "seed": options.seed,
        "instances": options.instances,
        "rules": large["rules"],
        "figures": figures,
        "paper": {
            "order": sfl_paper.ORDER,
            "whole_scheme_faster_than_sfl_percent": sfl_paper.TIME_BELOW_SFL_PERCENT,
            "whole_scheme_faster_than_sl_percent": sfl_paper.TIME_BELOW_SL_PERCENT,
        },
    }
    if options.json:
        print(json.dumps(document, indent=1))
        return
    for name, row in document["rules"].items():
        print(f"{name:24s} above the lower bound: mean {row['mean']} %, p99 {row['p99']} %, max {row['max']} %")
    for row in figures:
        print(f"{row['figure']}: {row['measured']} (target {row['target']}, holds: {row['holds']})")


def random_jobs(num_jobs: int, rng: np.random.Generator) -> list[Job]:
    """Releases and tails that spread as wide as the server is busy, so that the order matters."""
    busy = float(num_jobs)
    columns = (rng.uniform(0, busy, num_jobs), rng.uniform(0.1, 1.9, num_jobs), rng.uniform(0, busy, num_jobs))
    return [
        Job(name=f"{index:03d}", release=float(r), work=float(w), tail=float(t))
        for index, (r, w, t) in enumerate(zip(*columns, strict=True))
    ]


def _exact(rng: np.random.Generator) -> list[dict[str, Any]]:
    found = []
    for num_jobs in (6, 8):
        worst = max(_excess_over_all_orders(random_jobs(num_jobs, rng)) for _ in range(_NUM_EXACT))
        found.append(
            {
                "figure": f"{num_jobs} jobs: worst excess over all orders, {_NUM_EXACT} instances",
                "measured": worst,
                "target": "<= 1e-9",
                "holds": worst <= 1e-9,
            }
        )
    began = time.perf_counter()
    for _ in range(50):
        best_order(random_jobs(8, rng))
    each = (time.perf_counter() - began) / 50
    found.append(
        {
            "figure": "8 jobs: milliseconds for the optimum, mean",
            "measured": round(1000 * each, 3),
            "target": None,
            "holds": None,
        }
    )
    return found


def _excess_over_all_orders(jobs: list[Job]) -> float:
    """How much longer our order takes than the best of all, each of which is tried."""
    release, work, tail = (np.array([getattr(job, name) for job in jobs]) for name in ("release", "work", "tail"))
    now, span = np.zeros(factorial(len(jobs))), np.zeros(factorial(len(jobs)))
    for turn in np.array(list(permutations(range(len(jobs))))).T:
        now = np.maximum(now, release[turn]) + work[turn]
        span = np.maximum(span, now + tail[turn])
    return float(best_order(jobs).makespan / span.min() - 1)


def _large(num_instances: int, rng: np.random.Generator) -> dict[str, Any]:
    rules = {
        "fifo": fifo,
        "longest_backward_first": longest_backward_first,
        "schrage": schrage,
        "best_order": best_order,
    }
    excess: dict[str, list[float]] = {name: [] for name in rules}
    num_slower = 0
    for _ in range(num_instances):
        jobs = random_jobs(int(rng.integers(9, 41)), rng)
        bound = lower_bound(jobs)
        spans = {name: rule(jobs).makespan for name, rule in rules.items()}
        num_slower += spans["best_order"] > spans["longest_backward_first"] * (1 + 1e-12)
        for name, span in spans.items():
            excess[name].append(100 * (span / bound - 1))
    summary = {
        name: {
            "mean": round(float(np.mean(v)), 4),
            "p99": round(float(np.percentile(v, 99)), 4),
            "max": round(max(v), 4),
        }
        for name, v in excess.items()
    }
    mean = summary["best_order"]["mean"]
    return {
        "rules": summary,
        "figures": [
            {
                "figure": "9 to 40 jobs: mean above the lower bound, %",
                "measured": mean,
                "target": "<= 2",
                "holds": mean <= 2,
            },
            {"figure": "9 to 40 jobs: p99, %", "measured": summary["best_order"]["p99"], "target": None, "holds": None},
            {
                "figure": "instances slower than longest-backward-first",
                "measured": num_slower,
                "target": "0",
                "holds": num_slower == 0,
            },
        ],
    }


def _switching() -> list[dict[str, Any]]:
    """Our pointer swap and peft's `set_adapter` on BERT-base with six adapters."""
    torch.set_num_threads(1)
    lora = LoraSettings(rank=16, targets="default")
    model, parts = model_of(BertConfig(num_labels=6), "classification", lora)
    server = server_segment(model, parts, cut_layer=1)
    slots = AdapterSlots(server)
    adapters = [slots.fresh() for _ in range(6)]
    ours = _median_ms(lambda turn: slots.fill(adapters[turn % 6]), 600)

    from peft import get_peft_model
    from transformers import BertForSequenceClassification

    plain = BertForSequenceClassification(BertConfig(num_labels=6))
    tuned = get_peft_model(plain, lora.config("classification", plain, parts))
    for number in range(1, 6):
        tuned.add_adapter(str(number), lora.config("classification", plain, parts))
    names = ["default", *map(str, range(1, 6))]
    theirs = _median_ms(lambda turn: tuned.set_adapter(names[turn % 6]), 60)
    return [
        {"figure": "switching the adapter, ms", "measured": round(ours, 4), "target": "<= 0.2", "holds": ours <= 0.2},
        {
            "figure": "peft's set_adapter in the same run, ms",
            "measured": round(theirs, 3),
            "target": None,
            "holds": None,
        },
    ]


def _median_ms(work: Any, times: int) -> float:
    samples = []
    for turn in range(times):
        began = time.perf_counter()
        work(turn)
        samples.append(time.perf_counter() - began)
    return 1000 * float(np.median(samples))


if __name__ == "__main__":
    main()

"""Sites learn from one another without showing what they saw: what the policy model knows of what a site never met.

.venv/bin/python benchmarks/federated_adaptation.py --json

Six sites, one of each scenario; each lacks two kinds of faults and two kinds of goals that others have. The base has
seen no site at all. Every way to adapt it takes the same number of steps on the same corpora; what it gave is judged in
the twin on seeds that no training saw: on what each site had met, and on the first occurrence of what it had not.
Corpora and finished rows are kept in `--work`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import federated_adaptation_rows
import federated_adaptation_sites
import numpy as np
import torch
from federated_adaptation_rows import ROWS, Adapted, Recipe, Row, Save
from federated_adaptation_sites import LACKING, corpora_mark, evaluation_cases, write_corpora
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.bootstrap import EMBEDDED_BASE
from agent.cell_plan import CellPlan
from agent.expert import Expert
from agent.models.local import load_local_model
from agent.models.port import PolicyModel
from agent.pretraining.evaluation import LEAST_WORTH, Case, raw_plans
from agent.prompting import TEMPLATE
from agent.report.figures import Figure, as_text, figure
from agent.twin import Twin
from agent.twin_model import EMBEDDED_TWIN
from agent.weights_mark import weights_mark

_LEAST_GAP = 0.03

PerCase = Float64[NDArray[np.float64], " cases"]


def main() -> None:
    """Train every row, judge it, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", type=Path, default=EMBEDDED_BASE, help="A base that has seen no site.")
    parser.add_argument("--work", type=Path, default=Path(".edgewright/adaptation"))
    parser.add_argument("--runs", type=int, default=6, help="Simulated runs of each site's corpus, 30 intervals each.")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--local-steps", type=int, default=5, help="Steps of each site in a round.")
    parser.add_argument("--cases", type=int, default=150, help="Judged cases of each site and kind.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    made_by = f"{TEMPLATE}-{weights_mark(EMBEDDED_TWIN.parent)[:8]}"
    recipe = Recipe(
        model=options.model,
        corpus=options.work / made_by / f"corpus-{options.runs}-{corpora_mark()}",
        num_rounds=options.rounds,
        local_steps=options.local_steps,
        seed=options.seed,
    )
    write_corpora(recipe.corpus, num_runs=options.runs)
    judges = {
        met: {name: Judge(islice(evaluation_cases(name, met=met == "own"), options.cases)) for name in LACKING}
        for met in ("own", "unseen")
    }
    finished = _folder_of_rows(recipe, options.cases)
    rows = [_measured(name, adapt, recipe, judges, finished) for name, adapt in ROWS.items()]
    document = {
        "sites": {name: lacking.as_dict() for name, lacking in LACKING.items()},
        "rounds": recipe.num_rounds,
        "local_steps": recipe.local_steps,
        "cases": {met: sum(len(one.cases) for one in found.values()) for met, found in judges.items()},
        "rows": rows,
        "figures": _figures({row["row"]: row for row in rows}),
    }
    print(json.dumps(document, indent=2) if options.json else _text(document))


class Judge:
    """Cases with what the expert would get in each; the same for all rows."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self.cases = tuple(cases)
        self._outlooks = [Twin().outlook(*case) for case in self.cases]
        self._expert = self._utility([Expert().plan(*case) for case in self.cases])

    def worth(self, model: PolicyModel) -> tuple[float, float]:
        """Mean utility of the model's raw plans in the twin, and the mean ratio to the expert's."""
        found = self._utility(raw_plans(model, self.cases, Expert()))
        counts = self._expert > LEAST_WORTH
        return float(found.mean()), float((found[counts] / self._expert[counts]).mean())

    def _utility(self, plans: Sequence[CellPlan]) -> PerCase:
        return np.array([outlook.utility(plan) for outlook, plan in zip(self._outlooks, plans, strict=True)])


def _folder_of_rows(recipe: Recipe, num_cases: int) -> Path:
    """Where rows of this very comparison lie: the same recipe, sites, base and corpora, judged by as many cases."""
    mark = hashlib.sha256(f"{recipe}|{num_cases}|{weights_mark(recipe.model)}".encode())
    for path in (Path(federated_adaptation_rows.__file__), Path(federated_adaptation_sites.__file__)):
        mark.update(path.read_bytes())
    for path in sorted(recipe.corpus.glob("*.jsonl")):
        mark.update(path.read_bytes())
    folder = recipe.corpus.with_name(f"rows-{mark.hexdigest()[:16]}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _measured(
    name: str,
    adapt: Callable[[Recipe], Adapted],
    recipe: Recipe,
    judges: dict[str, dict[str, Judge]],
    finished: Path,
) -> Row:
    file = finished / f"{name.replace(' ', '-')}.json"
    if file.is_file():
        kept: Row = json.loads(file.read_text(encoding="utf-8"))
        return kept
    began = time.process_time()
    adapted = adapt(recipe)
    row: Row = {"row": name, **adapted.costs, "train_cpu_s": round(time.process_time() - began, 1)}
    shared = _model(recipe, adapted.for_all)
    models = {site: _model(recipe, save) for site, save in adapted.by_site.items()}
    for met, by_site in judges.items():
        worth = [judge.worth(models.get(site, shared)) for site, judge in by_site.items()]
        row[f"utility_{met}"], row[f"to_expert_{met}"] = (round(float(x), 4) for x in np.mean(worth, axis=0))
    part = file.with_suffix(".part")
    part.write_text(json.dumps(row), encoding="utf-8")
    part.replace(file)
    print(row, file=sys.stderr)
    return row


def _model(recipe: Recipe, save: Save | None) -> PolicyModel:
    """The base, with the adapter that `save` writes."""
    if save is None:
        return load_local_model(str(recipe.model))
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        return load_local_model(str(recipe.model), adapter=Path(folder))


def _figures(rows: dict[str, Row]) -> list[Figure]:
    found = []
    for met in ("own", "unseen"):
        base, central, sfl = (rows[name][f"utility_{met}"] for name in ("base", "central", "sfl"))
        gap = central - base
        found += [
            figure(f"{met}: gap between base and central, of the base's utility", gap / base, _LEAST_GAP),
            figure(f"{met}: part of the gap that SFL closes", (sfl - base) / gap if gap > 0 else 0.0, 0.8),
        ]
    unseen = {name: row["utility_unseen"] for name, row in rows.items()}
    return [
        *found,
        figure("unseen: SFL's utility above local-only's", unseen["sfl"] - unseen["local only"], 0.0),
        figure("unseen: SFL's utility beside federated LoRA's", unseen["sfl"] - unseen["federated LoRA"], -0.005),
        figure("SFL's bytes, to federated LoRA's", rows["sfl"]["megabytes"] / rows["federated LoRA"]["megabytes"]),
    ]


def _text(document: dict[str, Any]) -> str:
    names = list(dict.fromkeys(name for row in document["rows"] for name in row))
    lines = ["  ".join(names)]
    lines += ["  ".join(f"{row.get(name, '')!s:>{len(name)}}" for name in names) for row in document["rows"]]
    return "\n".join([*lines, *map(as_text, document["figures"])])


if __name__ == "__main__":
    main()

"""The six sites of federated_adaptation.py: what each has met, its corpus and the cases it is judged on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agent import corpus_export
from agent.corpus_export import FIRST_TRAINING_SEED, GoalKind, Site, site_cases, site_examples, site_without
from agent.pretraining.corpus import write_examples
from agent.pretraining.evaluation import Case
from telemetry_sim.faults import FaultKind

_TRAINING_SEED = FIRST_TRAINING_SEED + 300_000
_HELD_OUT_SEED = 90_000
_NUM_INTERVALS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What a site has not met yet and others have."""

    faults: tuple[FaultKind, FaultKind]
    goals: tuple[GoalKind, GoalKind]

    def as_dict(self) -> dict[str, list[str]]:
        """For a document."""
        return {"faults": [str(kind) for kind in self.faults], "goals": [str(kind) for kind in self.goals]}


LACKING = {
    "smart-city": Lacking(
        faults=(FaultKind.INTERFERENCE_BURST, FaultKind.NODE_CRASH), goals=(GoalKind.DELAY, GoalKind.RATE_CAP)
    ),
    "intelligent-transport": Lacking(
        faults=(FaultKind.FLASH_CROWD, FaultKind.JAMMING), goals=(GoalKind.PRIORITY, GoalKind.FLOOR)
    ),
    "industrial-iot": Lacking(
        faults=(FaultKind.REBOOT_STORM, FaultKind.NODE_CRASH), goals=(GoalKind.ENERGY, GoalKind.WEIGHTS)
    ),
    "smart-home": Lacking(
        faults=(FaultKind.BACKHAUL_CONGESTION, FaultKind.FLASH_CROWD), goals=(GoalKind.DELAY, GoalKind.ENERGY)
    ),
    "ehealth": Lacking(
        faults=(FaultKind.CELL_OUTAGE, FaultKind.COMPROMISED_DEVICE), goals=(GoalKind.RATE_CAP, GoalKind.WEIGHTS)
    ),
    "space-air-ground-sea": Lacking(
        faults=(FaultKind.BACKHAUL_CONGESTION, FaultKind.CELL_OUTAGE), goals=(GoalKind.PRIORITY, GoalKind.FLOOR)
    ),
}


def corpora_mark() -> str:
    """Of how the sites and their rows are made: corpora made in another way are not taken up."""
    mark = hashlib.sha256()
    for module in (__file__, corpus_export.__file__):
        mark.update(Path(module).read_bytes())
    return mark.hexdigest()[:8]


def write_corpora(folder: Path, *, num_runs: int) -> None:
    """A file a site, without what the site lacks; those that are there are kept."""
    for name in LACKING:
        path = folder / f"{name}.jsonl"
        if path.exists():
            continue
        rows = (
            row
            for run in range(num_runs)
            for row in site_examples(_known(name), num_intervals=_NUM_INTERVALS, seed=_TRAINING_SEED + run, variants=3)
        )
        write_examples(rows, path)


def evaluation_cases(name: str, *, met: bool) -> Iterator[Case]:
    """Cases of held-out runs: of what the site has met, or of what it lacks alone."""
    lacking = LACKING[name]
    site = _known(name) if met else Site(scenario=name, faults=lacking.faults, goals=lacking.goals)
    for run in range(100):
        yield from site_cases(site, num_intervals=_NUM_INTERVALS, seed=_HELD_OUT_SEED + run, variants=2)


def _known(name: str) -> Site:
    lacking = LACKING[name]
    whole = site_without(name)
    return replace(
        whole,
        faults=tuple(kind for kind in whole.faults or () if kind not in lacking.faults),
        goals=tuple(kind for kind in whole.goals if kind not in lacking.goals),
    )

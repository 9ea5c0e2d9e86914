"""A comparison as plain JSON values; equal runs give equal documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from agent.comparison import Episode, EpisodeSettings, tabulate
from telemetry_sim.scenarios import scenario


def comparison_document(
    settings: EpisodeSettings, seeds: Sequence[int], episodes: Sequence[Episode], warnings: Sequence[str]
) -> dict[str, Any]:
    """Settings, one row per planner, and who wrote the dispatched plans."""
    slice_names = [profile.name for profile in scenario(settings.scenario, settings.num_devices).topology.slices]
    return {
        "scenario": settings.scenario,
        "seeds": list(seeds),
        "num_intervals": settings.num_intervals,
        "interval_s": settings.interval_s,
        "slices": slice_names,
        "goals": [goal.model_dump(mode="json") for goal in settings.goals],
        "warnings": list(warnings),
        "planners": [asdict(row) for row in tabulate(episodes, slice_names)],
        "sources": {
            f"{e.planner}/{e.seed}": {source.value: count for source, count in e.sources.items()} for e in episodes
        },
        "repairs": {f"{e.planner}/{e.seed}": e.repairs for e in episodes if e.repairs},
    }


def timings_document(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Wall times, kept apart because they differ between equal runs."""
    return {
        f"{e.planner}/{e.seed}": {
            "elapsed_s": round(e.elapsed_s, 3),
            "decision_p50_ms": round(1000 * float(np.median(e.decision_s)), 3),
            "decision_p95_ms": round(1000 * float(np.percentile(e.decision_s, 95)), 3),
        }
        for e in episodes
    }

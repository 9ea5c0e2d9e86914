"""Plots of a comparison, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from agent.comparison import Episode

mpl.use("Agg")

from matplotlib import pyplot as plt

_MODEL_COLOUR, _OTHER_COLOUR = "#0b7285", "#adb5bd"
_SHOWN_OVER_TIME = ("llm_gated", "llm_tuned_gated", "optimiser", "uniform", "proportional")


def plot_utility(document: dict[str, Any], path: Path) -> None:
    """Bars of mean utility per planner with the seeds as dots."""
    rows = sorted(document["planners"], key=lambda row: row["utility"])
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(rows) + 1.2))
    for place, row in enumerate(rows):
        is_model = row["planner"].startswith("llm")
        axes.barh(place, row["utility"], color=_MODEL_COLOUR if is_model else _OTHER_COLOUR)
        axes.plot(row["utility_per_seed"], [place] * len(row["utility_per_seed"]), "k.", markersize=4)
    axes.set_yticks(range(len(rows)), [row["planner"] for row in rows])
    lowest = min(min(row["utility_per_seed"]) for row in rows)
    axes.set_xlim(max(0.0, lowest - 0.05), 1.0)
    axes.set_xlabel("utility (weighted worth of in-time service, 0-1); dots are seeds; axis does not start at 0")
    _save(figure, path)


def plot_sla(document: dict[str, Any], path: Path) -> None:
    """Share of intervals with the SLA held, planner by slice."""
    rows, slices = document["planners"], document["slices"]
    values = np.array([[row["sla"][name] for name in slices] for row in rows])
    figure, axes = plt.subplots(figsize=(1.4 * len(slices) + 3, 0.45 * len(rows) + 1.2))
    image = axes.imshow(values, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
    axes.set_xticks(range(len(slices)), slices, rotation=20)
    axes.set_yticks(range(len(rows)), [row["planner"] for row in rows])
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
    figure.colorbar(image, label="share of cell-intervals with the SLA held")
    _save(figure, path)


def plot_over_time(episodes: Sequence[Episode], path: Path) -> None:
    """Utility per interval of the first seed."""
    first = min(episode.seed for episode in episodes)
    shown = {episode.planner for episode in episodes} & set(_SHOWN_OVER_TIME)
    figure, axes = plt.subplots(figsize=(9, 3.5))
    for episode in episodes:
        if episode.seed == first and (episode.planner in shown or not shown):
            axes.plot(episode.score.utility_per_interval, label=episode.planner, linewidth=1.5)
    axes.set_xlabel(f"decision interval (seed {first})")
    axes.set_ylabel("utility")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="lower left", fontsize=8, ncols=3)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": "edgewright"})
    plt.close(figure)

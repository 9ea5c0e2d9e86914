"""Plots of a replay, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt


def plot_demand(document: dict[str, Any], path: Path) -> None:
    """Demand and served rate of each slice over time, all cells together."""
    times = sorted({row["time_s"] for row in document["intervals"]})
    figure, axes = plt.subplots(len(document["slices"]), 1, sharex=True, squeeze=False, figsize=_size(document))
    for axis, name in zip(axes[:, 0], document["slices"], strict=True):
        for kind, style in (("demand_kbps", "-"), ("served_kbps", "--")):
            total = dict.fromkeys(times, 0.0)
            for row in document["intervals"]:
                total[row["time_s"]] += row[kind][name] / 1000.0
            axis.plot(times, list(total.values()), style, linewidth=1.0, label=kind.removesuffix("_kbps"))
        axis.set_ylabel(f"{name}, Mb/s")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8, ncols=2)
    axes[-1, 0].set_xlabel("s since the start of the recording")
    _save(figure, path)


def plot_shares(document: dict[str, Any], path: Path) -> None:
    """Our guaranteed shares over time, and the peer's where it decided; the mean over the cells."""
    figure, axes = plt.subplots(len(document["slices"]), 1, sharex=True, squeeze=False, figsize=_size(document))
    for axis, name in zip(axes[:, 0], document["slices"], strict=True):
        axis.step(*_mean_over_cells(document, "ours", name), where="post", linewidth=1.0, label="ours")
        if document["summary"]["agreement"] is not None:
            axis.step(*_mean_over_cells(document, "peer", name), where="post", linewidth=0.8, label="peer", alpha=0.7)
        axis.set_ylabel(f"{name}, % of PRBs")
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8, ncols=2)
    axes[-1, 0].set_xlabel("s since the start of the recording")
    _save(figure, path)


def plot_utility(document: dict[str, Any], path: Path) -> None:
    """What-if utility over time against the demand that came."""
    figure, axis = plt.subplots(figsize=(9, 3.2))
    for name in ("ours", "uniform", "peer"):
        points = [
            (row["time_s"], row["what_if"][name]["hindsight"])
            for row in document["intervals"]
            if name in row["what_if"] and row["what_if"][name]["hindsight"] is not None
        ]
        if points:
            axis.plot(*zip(*points, strict=True), ".", markersize=3, label=name)
    axis.set_xlabel("s since the start of the recording")
    axis.set_ylabel("utility in the twin")
    axis.grid(alpha=0.3)
    if axis.has_data():
        axis.legend(loc="lower left", fontsize=8, ncols=3)
    _save(figure, path)


def _mean_over_cells(document: dict[str, Any], who: str, name: str) -> tuple[list[float], list[float]]:
    shares: dict[float, list[float]] = {}
    for row in document["intervals"]:
        if who in row:
            shares.setdefault(row["time_s"], []).append(row[who]["min_pct"][name])
    return list(shares), [float(np.mean(values)) for values in shares.values()]


def _size(document: dict[str, Any]) -> tuple[float, float]:
    return 9.0, 1.6 * len(document["slices"]) + 0.8


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": "edgewright"})
    plt.close(figure)

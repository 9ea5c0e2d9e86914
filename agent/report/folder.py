"""The report folder of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.comparison import Episode
from agent.errors import AgentInputInvalid
from agent.report.plots import plot_over_time, plot_sla, plot_utility
from agent.report.tables import comparison_markdown, sla_markdown


def write_report(folder: Path, episodes: Sequence[Episode], document: dict[str, Any]) -> Path:
    """Write report.md, plots, summary.json, decisions.jsonl and policies.jsonl; returns the folder.

    Raises AgentInputInvalid where one of them can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_files(folder, episodes, document)
    except OSError as error:
        path = error.filename or folder
        raise AgentInputInvalid(f"report {str(path)!r}: {error.strerror}; a writable folder was expected") from error
    return folder


def _write_files(folder: Path, episodes: Sequence[Episode], document: dict[str, Any]) -> None:
    plot_utility(document, folder / "utility.png")
    plot_sla(document, folder / "sla.png")
    plot_over_time(episodes, folder / "utility_over_time.png")
    (folder / "summary.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    with (folder / "decisions.jsonl").open("w", encoding="utf-8") as file:
        for episode in episodes:
            for row in episode.decision_log:
                file.write(json.dumps({"seed": episode.seed, **row}, sort_keys=True) + "\n")
    with (folder / "policies.jsonl").open("w", encoding="utf-8") as file:
        for episode in episodes:
            for policy in episode.policies:
                file.write(json.dumps({"seed": episode.seed, **policy}, sort_keys=True) + "\n")
    (folder / "report.md").write_text(_markdown(document), encoding="utf-8")


def _markdown(document: dict[str, Any]) -> str:
    seeds = ", ".join(map(str, document["seeds"]))
    warnings = "".join(f"\n> **Warning**: {warning}\n" for warning in document["warnings"])
    return f"""# {document["scenario"]}: planners compared
{warnings}
{document["num_intervals"]} decision intervals of {document["interval_s"]:.0f} s, seeds {seeds}.
All planners get the same digests, goal, cadence and actuation delay; scores come from the network's own counters.

{comparison_markdown(document)}

*own* is the share of dispatched cell plans that the model wrote (repaired ones included), *fallback* the share that the
expert wrote in its stead, or what was in force, *valid* the share of answers that were valid before any repair.

![Utility](utility.png)

## SLA held, per slice

{sla_markdown(document)}

![SLA](sla.png)

## Over time

![Utility over time](utility_over_time.png)

`decisions.jsonl` holds every decision with its prompt, answer and twin figures, `policies.jsonl` every dispatched
policy.
"""

"""The report folder of a replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agent.errors import AgentInputInvalid
from agent.replay.plots import plot_demand, plot_shares, plot_utility
from agent.replay.tables import summary_lines


def write_replay_report(folder: Path, document: dict[str, Any]) -> Path:
    """Write report.md, plots and replay.json; raises AgentInputInvalid where the folder can't be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if document["intervals"]:
            plot_demand(document, folder / "demand.png")
            plot_shares(document, folder / "shares.png")
            plot_utility(document, folder / "utility.png")
        (folder / "replay.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(_markdown(document), encoding="utf-8")
    except OSError as error:
        raise AgentInputInvalid(f"--out {str(folder)!r}: {error.strerror}; a writable folder was expected") from error
    return folder


def _markdown(document: dict[str, Any]) -> str:
    warnings = "".join(f"\n> **Warning**: {warning}\n" for warning in document["warnings"])
    facts = "\n".join(f"- {line}" for line in summary_lines(document))
    model = "" if document["model"] is None else f", model `{document['model']}`"
    return f"""# Replay of {document["trace"]}
{warnings}
Format {document["format"]}, planner `{document["planner"]}`{model}, an interval per \
{"recorded state" if document["is_per_state"] else f"{document['interval_s']:g} s"}.

{facts}

A recording can't obey, so nothing here was dispatched to a network: the figures are the twin's. It lends idle PRBs
under every plan, ours and the peer's alike. *Foreseen* is the mean over futures around the digest's forecast,
*hindsight* the same plan against the demand that the next interval brought. The plots sum demand over the cells and
average shares over them.

![Demand and served rate](demand.png)

![Shares](shares.png)

![Utility](utility.png)

`replay.json` holds every decision.
"""

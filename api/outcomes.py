"""What came of a dispatch, as JSON values."""

from __future__ import annotations

from typing import Any

from agent.dispatch.port import DispatchOutcome
from telemetry_sim.topology import Topology


def outcome_document(outcome: DispatchOutcome, topology: Topology) -> dict[str, Any]:
    """Who applied the version, who refused it and why, and which cells it left as they were: each cell is in one."""
    named = {answer.cell for answer in outcome.acknowledgements}
    return {
        "version": outcome.policy_version,
        "status": "enforced" if outcome.is_enforced else "not_enforced",
        "applied": [answer.cell for answer in outcome.acknowledgements if answer.applied],
        "refused": [{"cell": answer.cell, "reason": answer.reason} for answer in outcome.refusals],
        "unchanged": [cell.id for cell in topology.cells if cell.id not in named],
    }

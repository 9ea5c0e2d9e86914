"""What came of a dispatch, as JSON values."""

from __future__ import annotations

from typing import Any

from agent.dispatch.port import DispatchOutcome


def outcome_document(outcome: DispatchOutcome) -> dict[str, Any]:
    """Who applied the version, and who refused it and why."""
    return {
        "version": outcome.policy_version,
        "status": "enforced" if outcome.is_enforced else "not_enforced",
        "applied": [answer.cell for answer in outcome.acknowledgements if answer.applied],
        "refused": [{"cell": answer.cell, "reason": answer.reason} for answer in outcome.refusals],
    }

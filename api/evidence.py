"""What is kept of a turn: what was seen, decided, foreseen and what came of it."""

from __future__ import annotations

import hashlib

from agent.control_loop import Turn
from agent.dispatch.port import DispatchOutcome
from agent.planner import Source
from agent.store.audit_trail import canonical_json
from agent.store.decisions import DecisionRecord
from edge_preprocess.digest import EdgeDigest


def decision_record(turn: Turn, *, now_s: float, refusal: str) -> DecisionRecord:
    """The turn's decision and its evidence; `refusal` says why its policy was not dispatched."""
    return DecisionRecord(
        time_s=now_s,
        planner=turn.decision.planner,
        digest_hash=digests_hash(turn.digests),
        policy_version=None if turn.outcome is None else turn.outcome.policy_version or None,
        model=turn.decision.planner,
        prompt_hash=_sha256("".join(decided.prompt for decided in turn.decision.cells)),
        raw_answer="\n".join(decided.answer for decided in turn.decision.cells),
        validation={
            str(decided.cell): {
                "source": decided.source.value,
                "is_valid": decided.is_valid,
                "repairs": list(decided.repairs),
                "note": decided.note,
            }
            for decided in turn.decision.cells
        },
        forecast={
            str(decided.cell): {"plan": decided.twin_utility, "alternative": decided.twin_alternative}
            for decided in turn.decision.cells
            if decided.source is not Source.FORMULA
        },
        outcome={
            "is_enforced": turn.outcome is not None and turn.outcome.is_enforced,
            "refusal": refusal,
            "acknowledgements": [] if turn.outcome is None else [_acknowledged(turn.outcome)],
        },
        latency_s=turn.decision.elapsed_s,
    )


def digests_hash(digests: tuple[EdgeDigest, ...]) -> str:
    """SHA-256 over the digests' canonical JSON."""
    return _sha256(canonical_json([digest.model_dump(mode="json") for digest in digests]))


def _acknowledged(outcome: DispatchOutcome) -> dict[str, object]:
    """Counts of what the targets said, without one row per target."""
    refusals = outcome.refusals
    return {
        "version": outcome.policy_version,
        "applied": len(outcome.acknowledgements) - len(refusals),
        "refused": len(refusals),
        "first_reason": refusals[0].reason if refusals else "",
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""A replay as plain JSON values; equal replays give equal documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from agent.planner import Source
from agent.replay.peer import Agreement, agreement, groups_of, peer_groups, peer_plan
from agent.replay.replaying import OURS, PEER, UNIFORM, CellReplay, ReplayResult
from telemetry_sim.topology import Topology
from telemetry_sim.traces import TraceSummary

_DIGITS = 6
_TIE = 1e-4
"""Utilities nearer than this are equal: the twin's own draws differ by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFacts:
    """What was replayed and how."""

    trace: str
    summary: TraceSummary
    topology: Topology
    num_peer_decisions: int
    num_peer_unusable: int
    interval_s: float
    is_per_state: bool
    planner: str
    model: str | None
    seed: int
    goals: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    edge_quarantined: dict[str, int]


def replay_document(facts: ReplayFacts, result: ReplayResult) -> dict[str, Any]:
    """Rows, validity, sources, every interval's decisions and the summary."""
    names = [profile.name for profile in facts.topology.slices]
    return {
        "trace": facts.trace,
        "format": facts.summary.format,
        "planner": facts.planner,
        "model": facts.model,
        "seed": facts.seed,
        "goals": list(facts.goals),
        "warnings": list(facts.warnings),
        "interval_s": facts.interval_s,
        "is_per_state": facts.is_per_state,
        "slices": names,
        "cells": [cell.id for cell in facts.topology.cells],
        "rows": rows_document(facts.summary),
        "edge_rows": _edge_rows(facts, result),
        "notes": dict(facts.summary.notes),
        "unknown": list(result.unknown),
        "num_frames": facts.summary.num_frames,
        "num_devices": facts.summary.num_devices,
        "num_intervals": result.num_intervals,
        "num_policies": result.num_policies,
        "validity": _validity(result),
        "sources": source_counts(result.cells),
        "repairs": dict(sorted(Counter(r for cell in result.cells for r in cell.decided.repairs).items())),
        "intervals": [_cell_document(cell, names) for cell in result.cells],
        "summary": _summary(facts, result, names),
    }


def timings_document(result: ReplayResult, model_s: float) -> dict[str, float]:
    """Wall times, kept apart because they differ between equal replays."""
    decision_ms = 1000.0 * np.array(result.decision_s or [0.0])
    return {
        "elapsed_s": round(result.elapsed_s, 3),
        "model_s": round(model_s, 3),
        "intervals_per_s": round(result.num_intervals / max(result.elapsed_s, 1e-9), 2),
        "decision_without_model_p50_ms": round(float(np.median(decision_ms)), 3),
        "decision_without_model_p95_ms": round(float(np.percentile(decision_ms, 95)), 3),
    }


def rows_document(summary: TraceSummary) -> dict[str, Any]:
    """What became of the recording's rows: read = accepted + quarantined."""
    return {
        "read": summary.rows_read,
        "accepted": summary.rows_accepted,
        "quarantined": summary.rows_quarantined,
        "reasons": dict(sorted(summary.quarantined.items())),
    }


def source_counts(cells: Sequence[CellReplay]) -> dict[str, int]:
    """How many cell decisions came from whom."""
    counts = Counter(cell.decided.source for cell in cells)
    return {source.value: counts[source] for source in Source}


def pairs(cells: Sequence[CellReplay]) -> list[CellReplay]:
    """Cells with a decision of the peer beside ours."""
    return [cell for cell in cells if cell.peer is not None]


def _edge_rows(facts: ReplayFacts, result: ReplayResult) -> dict[str, Any]:
    qualities = [cell.digest.quality for cell in result.cells]
    return {
        "received": sum(quality.rows_received for quality in qualities),
        "accepted": sum(quality.rows_accepted for quality in qualities),
        "quarantined": sum(quality.rows_quarantined for quality in qualities),
        "reasons": dict(sorted(facts.edge_quarantined.items())),
    }


def _validity(result: ReplayResult) -> dict[str, Any]:
    asked = [cell.decided for cell in result.cells if cell.decided.prompt]
    return {
        "policies_valid": result.num_policies_valid,
        "policies_invalid": result.num_policies - result.num_policies_valid,
        "answers": len(asked),
        "answers_valid": sum(decided.is_valid for decided in asked),
        "answers_invalid": sum(not decided.is_valid for decided in asked),
    }


def _cell_document(cell: CellReplay, names: Sequence[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "interval": cell.interval,
        "time_s": round(cell.digest.end_s, 3),
        "cell": cell.digest.cell,
        "policy_version": cell.policy_version,
        "source": cell.decided.source.value,
        "is_valid": cell.decided.is_valid,
        "repairs": list(cell.decided.repairs),
        "note": cell.decided.note,
        "demand_kbps": {n: round(row.demand_kbps, 3) for n, row in zip(names, cell.digest.slices, strict=True)},
        "served_kbps": {n: round(row.served_kbps, 3) for n, row in zip(names, cell.digest.slices, strict=True)},
        "ours": {
            "min_pct": {n: part.min_pct for n, part in zip(names, cell.plan.slices, strict=True)},
            "scheduler": {n: part.scheduler.value for n, part in zip(names, cell.plan.slices, strict=True)},
        },
        "what_if": {
            name: {
                "foreseen": round(one.foreseen, _DIGITS),
                "hindsight": None if one.hindsight is None else round(one.hindsight, _DIGITS),
            }
            for name, one in cell.what_if.items()
        },
    }
    if cell.peer is not None:
        document["ours"]["groups"] = dict(zip(names, groups_of(cell.plan), strict=True))
        document["peer"] = _peer_document(cell, names)
    return document


def _peer_document(cell: CellReplay, names: Sequence[str]) -> dict[str, Any] | None:
    peer = cell.peer
    if peer is None:
        return None
    shares = [part.min_pct for part in peer_plan(peer, cell.digest.cell).slices]
    return {
        "time_s": peer.time_s,
        "prb": dict(zip(names, peer.slice_prb, strict=True)),
        "min_pct": dict(zip(names, shares, strict=True)),
        "groups": dict(zip(names, peer_groups(peer), strict=True)),
        "scheduler": dict(zip(names, peer.schedulers, strict=True)),
        "reward": peer.reward if np.isfinite(peer.reward) else None,
        "unseen_prb": peer.unseen_prb,
        "num_decisions": cell.num_peer_decisions,
    }


def _summary(facts: ReplayFacts, result: ReplayResult, names: Sequence[str]) -> dict[str, Any]:
    both = pairs(result.cells)
    return {
        "mean_min_pct": _mean_shares(result.cells, names),
        "what_if": {
            "all": _utilities(result.cells, (OURS, UNIFORM)),
            "where_the_peer_decided": _utilities(both, (OURS, UNIFORM, PEER)) if both else None,
        },
        "against_peer": {view: _against(both, view) for view in ("foreseen", "hindsight")} if both else None,
        "agreement": _rounded(agreement([c.plan for c in both], [c.peer for c in both if c.peer]), names),
        "peer_decisions": facts.num_peer_decisions,
        "peer_decisions_beside_ours": len(both),
        "peer_decisions_repeated_on_a_state": sum(max(c.num_peer_decisions - 1, 0) for c in both),
        "peer_decisions_unusable": facts.num_peer_unusable,
        "states_without_a_peer_decision": len(result.cells) - len(both) if facts.num_peer_decisions else None,
    }


def _mean_shares(cells: Sequence[CellReplay], names: Sequence[str]) -> dict[str, float]:
    if not cells:
        return {}
    shares = np.array([[part.min_pct for part in cell.plan.slices] for cell in cells], dtype=float).mean(axis=0)
    return {name: round(float(share), 3) for name, share in zip(names, shares, strict=True)}


def _utilities(cells: Sequence[CellReplay], names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Mean utilities; hindsight leaves the last interval out."""
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        foreseen = [cell.what_if[name].foreseen for cell in cells]
        hindsight = [h for cell in cells if (h := cell.what_if[name].hindsight) is not None]
        found[name] = {"foreseen": _mean(foreseen), "hindsight": _mean(hindsight)}
    return found


def _against(cells: Sequence[CellReplay], view: str) -> dict[str, int]:
    """In how many states our plan is worth more than the peer's, as much, or less."""
    counts = {"ours_better": 0, "equal": 0, "peer_better": 0}
    for cell in cells:
        mine, theirs = getattr(cell.what_if[OURS], view), getattr(cell.what_if[PEER], view)
        if mine is None or theirs is None:
            continue
        key = "equal" if abs(mine - theirs) <= _TIE else "ours_better" if mine > theirs else "peer_better"
        counts[key] += 1
    return counts


def _rounded(found: Agreement | None, names: Sequence[str]) -> dict[str, Any] | None:
    if found is None:
        return None
    document: dict[str, Any] = {}
    for name, value in asdict(found).items():
        document[name] = round(value, 4) if isinstance(value, float) else value
    per_slice = [None if value is None else round(value, 4) for value in found.correlation_per_slice]
    document["correlation_per_slice"] = dict(zip(names, per_slice, strict=True))
    document["unit"] = "groups of 17 resource block groups; the peer's water-filling (wf) counts as proportional fair"
    return document


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), _DIGITS) if values else None

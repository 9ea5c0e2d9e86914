"""An application stream that misbehaves reaches the digest, and a goal can wait for it."""

from __future__ import annotations

import dataclasses

import pytest

from agent.goal import ContextKind, Expectation, Goal, TargetMetric, resolve_goals
from edge_preprocess.digest import AnomalyKind, EdgeDigest
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.faults import Fault, FaultKind, FaultPlan
from telemetry_sim.network import Network
from telemetry_sim.scenarios import list_scenarios, scenario
from telemetry_sim.topology import Topology

_INTERVAL_S = 10.0
_STREAMS = {
    "smart-city": "junction_queue",
    "intelligent-transport": "junction_count",
    "industrial-iot": "vibration_mm_s",
    "smart-home": "home_activity",
    "ehealth": "heart_rate_bpm",
    "space-air-ground-sea": "vessel_heading_deg",
}
"""A stream of each field's own."""
_SENSOR_FAULTS = (FaultKind.SENSOR_STUCK, FaultKind.SENSOR_SPIKES, FaultKind.SENSOR_DRIFT)
_RESCUE = Goal(
    id="rescue",
    expectations=(Expectation(metric=TargetMetric.IN_TIME_RATIO, value=0.99, context=ContextKind.SENSOR_ANOMALY),),
)


def _digests(name: str) -> tuple[list[tuple[EdgeDigest, ...]], Topology, Fault, int]:
    """A run in which the field's own stream is struck in one cell, as it is in that field, and its number."""
    made = scenario(name)
    own = next(s for s, p in enumerate(made.populations) if p.sensor is not None and p.sensor.name == _STREAMS[name])
    number = sum(p.sensor is not None for p in made.populations[:own])
    kind = next(kind for kind in made.faults.kinds if kind in _SENSOR_FAULTS)
    # Nearly all devices carry that stream, so that the fault strikes it wherever it strikes.
    people = tuple(
        dataclasses.replace(p, part=0.94 if s == own else 0.02, lora=None) for s, p in enumerate(made.populations)
    )
    plan = FaultPlan(kinds=(kind,), quiet_s=150.0, horizon_s=151.0, duration_s=(60.0, 60.0))
    network = Network(dataclasses.replace(made, populations=people, faults=plan), seed=3)
    (fault,) = network.ground_truth()
    pipeline = EdgePipeline(network.topology, interval_s=_INTERVAL_S)
    told = []
    for _ in range(21):
        telemetry = network.run(_INTERVAL_S)
        told.append(tuple(pipeline.digest(telemetry.frames, telemetry.logs)))
    return told, network.topology, fault, number


def _tells(digest: EdgeDigest, stream: int) -> bool:
    """Whether the digest tells of a stream's readings."""
    begin = tuple(f"sensor:{digest.cell}:{word}.{stream}." for word in ("stuck", "range"))
    return any(a.kind is AnomalyKind.SENSOR and a.evidence.startswith(begin) for a in digest.anomalies)


@pytest.mark.parametrize("name", [summary.name for summary in list_scenarios()])
def test_each_fields_own_stream_reaches_the_digest_and_a_goal(name: str) -> None:
    told, topology, fault, stream = _digests(name)
    quiet = [digests[fault.cell] for digests in told if digests[fault.cell].end_s <= fault.start_s]
    during = [digests[fault.cell] for digests in told if digests[fault.cell].start_s >= fault.start_s]
    alarmed = [digest for digest in during if _tells(digest, stream)]
    assert alarmed
    for digest in alarmed:
        assert resolve_goals((_RESCUE,), topology, digest).floor.tolist() == [0.99] * len(topology.slices)
    calm = [digest for digest in quiet if not resolve_goals((_RESCUE,), topology, digest).floor.any()]
    assert len(calm) >= len(quiet) - 1

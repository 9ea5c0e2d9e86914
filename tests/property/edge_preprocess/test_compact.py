"""Compact digests: pack and unpack are inverse, within the byte budget, and nothing breaks the reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_preprocess.compact import pack, unpack
from edge_preprocess.digest import (
    Anomaly,
    AnomalyKind,
    DataQuality,
    EdgeDigest,
    LogEvent,
    NeighbourDigest,
    SliceDigest,
)
from edge_preprocess.errors import DigestInvalid
from telemetry_sim.records import Severity
from telemetry_sim.topology import SliceId

_PATIENT = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
_NUMBERS = st.floats(0, 9e8).map(lambda x: float(f"{x:.4g}"))
_POSITIVE = st.floats(0.1, 9e6).map(lambda x: float(f"{x:.4g}"))
_RATIOS = st.floats(0, 1).map(lambda x: round(x, 4))
_COUNTS = st.integers(0, 99_999)
_SLICE_IDS = st.builds(SliceId, sst=st.integers(1, 255), sd=st.integers(0, 0xFFFFFF))
_SLICES = st.builds(
    SliceDigest,
    slice=_SLICE_IDS,
    in_time_ratio=_RATIOS,
    tasks_in_time_ratio=_RATIOS,
    num_devices=_COUNTS,
    num_refused=_COUNTS,
    delay_budget_ms=_POSITIVE,
    packet_size_bits=_POSITIVE,
    task_deadline_ms=_POSITIVE,
    **dict.fromkeys(
        (
            "demand_kbps",
            "served_kbps",
            "backlog_kbit",
            "delay_p95_ms",
            "prb_used",
            "kbps_per_prb",
            "forecast_demand_kbps",
            "forecast_deviation_kbps",
            "tasks_per_s",
            "task_megacycles",
            "forecast_tasks_per_s",
        ),
        _NUMBERS,
    ),
)
_ANOMALIES = st.builds(
    Anomaly,
    kind=st.sampled_from(AnomalyKind),
    severity=st.sampled_from(Severity),
    score=_RATIOS,
    slice=st.none() | _SLICE_IDS,
    evidence=st.sampled_from(["radio:3:noise:110-120", "demand:65535:255-ffffff:86390-86400"]),
)


def _digests(max_slices, max_anomalies=8, max_events=12):
    return st.builds(
        EdgeDigest,
        cell=st.integers(0, 65535),
        start_s=_NUMBERS,
        end_s=_POSITIVE,
        num_prb=st.integers(1, 275),
        prb_used=_NUMBERS,
        interference_dbm=st.none() | st.floats(-140, -60).map(lambda x: round(x, 1)),
        tx_power_step_db=st.integers(-9, 3),
        is_asleep=st.booleans(),
        is_up=st.booleans(),
        edge_cpu_ghz=_POSITIVE,
        edge_utilisation=_RATIOS,
        backhaul_mbps=_POSITIVE,
        backhaul_utilisation=_RATIOS,
        backhaul_delay_ms=_NUMBERS,
        energy_w=_NUMBERS,
        num_handovers=_COUNTS,
        num_handover_failures=_COUNTS,
        policy_version=_COUNTS,
        slices=st.lists(_SLICES, min_size=1, max_size=max_slices).map(tuple),
        neighbours=st.lists(
            st.builds(NeighbourDigest, cell=st.integers(0, 65535), prb_utilisation=_RATIOS, is_up=st.booleans()),
            max_size=6,
        ).map(tuple),
        anomalies=st.lists(_ANOMALIES, max_size=max_anomalies).map(tuple),
        events=st.lists(
            st.builds(LogEvent, name=st.sampled_from(["random_access_failure", "oom"]), count=st.integers(1, 9999)),
            max_size=max_events,
        ).map(tuple),
        quality=st.builds(DataQuality, rows_received=_COUNTS, rows_accepted=_COUNTS, rows_quarantined=_COUNTS),
        left_out=st.sampled_from([(), ("events",)]),
    )


@_PATIENT
@given(_digests(8))
def test_a_digest_survives_packing(digest):
    assert unpack(pack(digest)) == digest


@_PATIENT
@given(_digests(4))
def test_four_slices_fit_into_2_kilobytes_whatever_happens(digest):
    assert len(pack(digest)) <= 2000


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[2,[]]", b"[1,[]]", b"[1,7]", b"[1,[0,0,1,51,1,null,0,0,1,1,1,1,0,0,0,0,0,0,[7]]]"]
)
def test_what_is_no_compact_digest_is_refused(raw):
    with pytest.raises(DigestInvalid, match="compact digest"):
        unpack(raw)


@_PATIENT
@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_nothing_breaks_the_reader(document):
    with pytest.raises(DigestInvalid):
        unpack(json.dumps([1, document]).encode())

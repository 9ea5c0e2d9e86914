"""The chance that a slice misses its target next: it rises when it should and costs nobody a byte who did not ask."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from edge_preprocess.commands import edge
from edge_preprocess.compact import pack, unpack
from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.errors import StateUnreadable
from edge_preprocess.pipeline import EdgePipeline
from edge_preprocess.sla_forecast import FEATURES, WEIGHTS
from edge_preprocess.wire import dump_frame, dump_topology


def frames_of(make_frame, start_s, *, in_time=1.0, backlog=0.0):
    values = {"offered_bits": 1e6, "served_bits": 1e6, "in_time_bits": in_time * 1e6, "backlog_bits": backlog}
    return [make_frame(start_s + t, (1, 2), (0, 1), (0, 1), prb=4.0, sinr_db=15.0, **values) for t in range(1, 11)]


def risks_after(topology, make_frame, **values):
    pipeline = EdgePipeline(topology, with_sla_risk=True)
    for number in range(6):
        digests = pipeline.digest(frames_of(make_frame, 10.0 * number, **values), ())
    return digests[0].slices[0].sla_risk


def test_a_slice_in_good_order_has_a_small_risk_and_a_failing_one_a_large_one(topology, make_frame):
    assert risks_after(topology, make_frame) < 0.1
    assert risks_after(topology, make_frame, in_time=0.2, backlog=5e6) > 0.9


def test_the_risk_rises_with_the_backlog_and_with_what_was_missed(topology, make_frame):
    by_backlog = [risks_after(topology, make_frame, in_time=0.9, backlog=bits) for bits in (0.0, 1e5, 1e6)]
    by_share = [risks_after(topology, make_frame, in_time=share) for share in (1.0, 0.9, 0.5)]
    assert by_backlog == sorted(set(by_backlog))
    assert by_share == sorted(set(by_share))


def test_there_is_a_weight_for_every_feature():
    assert len(WEIGHTS) == len(FEATURES)


def test_without_being_asked_a_digest_has_the_bytes_it_always_had(topology, make_frame):
    frames = frames_of(make_frame, 0.0)
    plain = EdgePipeline(topology).digest(frames, ())
    told = EdgePipeline(topology, with_sla_risk=True).digest(frames, ())
    for without, asked in zip(plain, told, strict=True):
        assert "sla_risk" not in without.model_dump_json()
        assert all(0.0 <= part.sla_risk <= 1.0 for part in asked.slices)
        hidden = asked.model_copy(
            update={"slices": tuple(part.model_copy(update={"sla_risk": None}) for part in asked.slices)}
        )
        assert (hidden.model_dump_json(), pack(hidden)) == (without.model_dump_json(), pack(without))
        assert unpack(pack(asked)) == asked


def test_a_restored_forecast_goes_on_as_if_nothing_had_happened(topology, make_frame):
    whole = EdgePipeline(topology, with_sla_risk=True)
    first = EdgePipeline(topology, with_sla_risk=True)
    for number in range(3):
        for pipeline in (whole, first):
            pipeline.digest(frames_of(make_frame, 10.0 * number, in_time=0.6), ())
    second = EdgePipeline(topology, with_sla_risk=True)
    second.restore(first.state())
    frames = frames_of(make_frame, 30.0, in_time=0.8)
    assert second.digest(frames, ()) == whole.digest(frames, ())


@pytest.fixture
def source(tmp_path, topology, make_frame):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join([dump_topology(topology), *map(dump_frame, frames_of(make_frame, 0.0)), ""]))
    return path


def test_an_edge_node_tells_the_risk_where_it_is_asked_to(tmp_path, source):
    for name, options in (("plain", ()), ("asked", ("--sla-risk",))):
        arguments = [str(source), "--state", str(tmp_path / name), "--out", str(tmp_path / f"{name}.jsonl"), *options]
        assert CliRunner().invoke(edge, arguments, catch_exceptions=False).exit_code == 0
    asked = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert np.all([0.0 <= part["sla_risk"] <= 1.0 for one in asked for part in one["slices"]])
    assert "sla_risk" not in (tmp_path / "plain.jsonl").read_text()
    with pytest.raises(StateUnreadable, match="with_sla_risk"):
        EdgeNode(tmp_path / "plain", tmp_path / "plain.jsonl", with_sla_risk=True)

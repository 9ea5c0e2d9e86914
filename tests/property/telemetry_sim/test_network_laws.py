"""Laws that every run obeys: conservation, no negative backlog, the same bytes from the same seed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry_sim.actions import CellAction, ControlAction, Scheduler, SliceAction
from telemetry_sim.faults import FaultPlan
from telemetry_sim.network import Network, what_if
from telemetry_sim.scenarios import list_scenarios, scenario

if TYPE_CHECKING:
    from telemetry_sim.records import TelemetryFrame

_NAMES = [summary.name for summary in list_scenarios()]


def _early_faults(name: str, num_devices: int | None = None) -> Network:
    """A network whose faults all begin within the first seconds."""
    made = scenario(name, num_devices)
    plan = dataclasses.replace(made.faults, quiet_s=2.0, horizon_s=12.0, duration_s=(5.0, 8.0), lead_s=(1.0, 2.0))
    return Network(dataclasses.replace(made, faults=plan), seed=3)


def _bytes(frame: TelemetryFrame) -> bytes:
    parts = []
    for columns in (frame.devices, frame.slices, frame.cells, frame.sensors):
        assert columns is not None
        parts += [np.asarray(getattr(columns, field.name)).tobytes() for field in dataclasses.fields(columns)]
    return b"".join(parts)


@st.composite
def _policies(draw: st.DrawFn) -> list[ControlAction]:
    """Any policy for cell 1 of the city, its guarantees summing to at most 100."""
    actions: list[ControlAction] = []
    left = 100
    for profile in scenario("smart-city").topology.slices:
        least = draw(st.integers(0, left))
        left -= least
        device = draw(st.integers(0, 100))
        edge = draw(st.integers(0, 100 - device))
        actions.append(
            SliceAction(
                cell=1,
                slice=profile.id,
                dedicated_pct=draw(st.integers(0, least)),
                min_pct=least,
                max_pct=draw(st.integers(least, 100)),
                scheduler=draw(st.sampled_from(Scheduler)),
                ue_rate_cap_mbps=draw(st.none() | st.floats(0.01, 50.0)),
                admission_cap=draw(st.none() | st.integers(0, 20)),
                compute_pct=draw(st.integers(0, 25)),
                offload_device_pct=device,
                offload_edge_pct=edge,
                offload_cloud_pct=100 - device - edge,
                report_interval_s=draw(st.floats(1.0, 60.0)),
            )
        )
    actions.append(
        CellAction(
            cell=2,
            tx_power_step_db=draw(st.integers(-9, 3)),
            sleep=draw(st.booleans()),
            handover_offset_db=draw(st.integers(-6, 6)),
        )
    )
    return actions


@settings(max_examples=12, deadline=None)
@given(policy=_policies(), seed=st.integers(0, 2**32))
def test_packets_and_bits_are_conserved_under_any_policy(policy: list[ControlAction], seed: int) -> None:
    network = Network(scenario("smart-city"), seed=seed)
    network.run(1)
    network.apply(policy, policy_version=1)
    for _ in range(4):
        before = network.totals()
        network.run(1)
        after = network.totals()
        assert after.offered_bits == after.served_bits + after.dropped_bits + after.waiting_bits
        assert after.offered_packets == after.served_packets + after.dropped_packets + after.waiting_packets
        assert after.offered_packets >= before.offered_packets


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_is_lost_or_negative_while_faults_strike(name: str) -> None:
    network = _early_faults(name)
    for _ in range(20):
        (frame,) = network.run(1).frames
        rows = frame.devices
        assert np.all(rows.backlog_bits >= 0)
        assert np.all(rows.in_time_bits <= rows.served_bits)
        assert np.all(rows.prb >= 0)
        assert frame.cells is not None
        prbs = np.array([cell.num_prb for cell in network.topology.cells])
        assert np.all(frame.cells.prb_used <= prbs + 1e-9)
        assert np.all(frame.cells.energy_j >= 0)
    totals = network.totals()
    assert totals.offered_bits == totals.served_bits + totals.dropped_bits + totals.waiting_bits
    assert totals.offered_packets == totals.served_packets + totals.dropped_packets + totals.waiting_packets


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    first, second, other = (Network(scenario("smart-city"), seed=seed).run(12) for seed in (4, 4, 5))
    assert [_bytes(frame) for frame in first.frames] == [_bytes(frame) for frame in second.frames]
    assert first.logs == second.logs
    assert _bytes(first.frames[-1]) != _bytes(other.frames[-1])


def test_the_number_of_threads_changes_no_byte() -> None:
    made = scenario("smart-city", 8000)
    alone = Network(made, seed=4, num_threads=1).run(4).frames
    together = Network(made, seed=4, num_threads=3).run(4).frames
    assert [_bytes(frame) for frame in alone] == [_bytes(frame) for frame in together]


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "import hashlib; from telemetry_sim.network import Network; from telemetry_sim.scenarios import scenario; "
        "frame = Network(scenario('smart-city'), seed=9).run(3).frames[-1]; "
        "print(hashlib.sha256(frame.devices.served_bits.tobytes() + frame.devices.sinr_db.tobytes()).hexdigest())"
    )
    hashes = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(hashes) == 1


def test_running_in_one_stretch_or_in_many_gives_the_same_frames() -> None:
    whole = Network(scenario("smart-home"), seed=2).run(6).frames
    pieces = Network(scenario("smart-home"), seed=2)
    parts = [pieces.run(1).frames[0] for _ in range(6)]
    assert [_bytes(frame) for frame in whole] == [_bytes(frame) for frame in parts]


def test_a_fork_follows_the_original_and_does_not_touch_it() -> None:
    network = Network(scenario("smart-city"), seed=6)
    network.run(5)
    fork, untouched = network.fork(), network.fork()
    fork.apply([CellAction(cell=0, sleep=True)], policy_version=1)
    fork.run(5)
    expected = untouched.run(3).frames
    assert [_bytes(frame) for frame in network.run(3).frames] == [_bytes(frame) for frame in expected]


def test_halving_the_step_changes_no_delay_statistic_beyond_noise() -> None:
    made = dataclasses.replace(scenario("smart-city"), load=None, faults=FaultPlan())
    means: dict[float, list[float]] = {0.1: [], 0.05: []}
    tails: dict[float, list[np.ndarray]] = {0.1: [], 0.05: []}
    for step_s in (0.1, 0.05):
        for seed in range(6):
            frames = Network(dataclasses.replace(made, step_s=step_s), seed=seed).run(10).frames
            counts = sum(frame.slices.delay_counts for frame in frames).sum(axis=0)
            share = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
            tails[step_s].append(np.argmax(share >= 0.95, axis=1))
            delays = np.array([np.nanmean(frame.devices.delay_ms) for frame in frames])
            means[step_s].append(delays.mean())
    difference = np.array(means[0.1]) - np.array(means[0.05])
    noise = np.std(difference) / np.sqrt(len(difference))
    assert abs(difference.mean()) < max(3.0 * noise, 0.02 * np.mean(means[0.1]))
    # Bins are a twentieth of a decade wide.
    assert np.all(np.abs(np.mean(tails[0.1], axis=0) - np.mean(tails[0.05], axis=0)) <= 1.5)


def test_what_if_compares_policies_on_the_same_chances_and_leaves_the_network_alone() -> None:
    network = Network(scenario("smart-city"), seed=6)
    network.run(3)
    untouched = network.fork()
    cells = network.topology.cells
    sleep: list[ControlAction] = [CellAction(cell=cells[0].id, sleep=True)]
    awake: list[ControlAction] = [CellAction(cell=cells[0].id)]
    slept, first, second = what_if(network, [sleep, awake, awake], duration_s=3.0, num_threads=2)
    assert [frame.devices.served_bits.tobytes() for frame in first.frames] == [
        frame.devices.served_bits.tobytes() for frame in second.frames
    ]
    assert slept.frames[-1].cells is not None
    assert slept.frames[-1].cells.is_asleep[0] == 1.0
    assert [_bytes(frame) for frame in network.run(2).frames] == [_bytes(frame) for frame in untouched.run(2).frames]
    (other,) = what_if(network, [awake], duration_s=3.0, seed=77)
    assert _bytes(other.frames[-1]) != _bytes(first.frames[-1])

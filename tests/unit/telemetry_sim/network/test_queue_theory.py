"""A device on a steady link is a textbook queue."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telemetry_sim.traffic import TrafficKind

if TYPE_CHECKING:
    from types import ModuleType

_PATH = Path(__file__).resolve().parents[4] / "benchmarks" / "validation_queues.py"


@pytest.fixture(scope="module")
def queues() -> ModuleType:
    spec = importlib.util.spec_from_file_location("validation_queues", _PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["validation_queues"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("load", "tolerance"), [(0.5, 0.02), (0.8, 0.04)])
@pytest.mark.parametrize(
    ("kind", "theory"), [(TrafficKind.POISSON_EXPONENTIAL, "mm1_ms"), (TrafficKind.POISSON, "md1_ms")]
)
def test_mean_and_tail_of_the_sojourn_follow_theory(
    queues: ModuleType, kind: TrafficKind, theory: str, load: float, tolerance: float
) -> None:
    run = queues.run_queue(kind, load, duration_s=200.0, seed=3, rate_bps=queues.link_rate_bps())
    mean_ms, p99_ms = getattr(queues, theory)(load)
    assert run.mean_ms == pytest.approx(mean_ms, rel=tolerance)
    assert run.p99_ms == pytest.approx(p99_ms, rel=tolerance)


def test_in_overload_throughput_saturates_and_the_buffer_fills(queues: ModuleType) -> None:
    run = queues.run_queue(
        TrafficKind.POISSON_EXPONENTIAL, 1.5, duration_s=20.0, seed=3, rate_bps=queues.link_rate_bps()
    )
    assert run.served_per_s == pytest.approx(1000.0 / queues.SERVICE_MS, rel=0.02)
    assert run.mean_waiting > 2000

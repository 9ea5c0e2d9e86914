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
    assert run.littles_gap < 0.005


def test_in_overload_throughput_saturates_and_the_buffer_fills(queues: ModuleType) -> None:
    run = queues.run_queue(
        TrafficKind.POISSON_EXPONENTIAL, 1.5, duration_s=20.0, seed=3, rate_bps=queues.link_rate_bps()
    )
    assert run.served_per_s == pytest.approx(1000.0 / queues.SERVICE_MS, rel=0.02)
    assert run.mean_waiting > 1900


def test_in_overload_without_a_bound_the_sojourn_grows_as_fast_as_the_surplus(queues: ModuleType) -> None:
    served_per_s, growth = queues.run_overload(duration_s=40.0, seed=3, rate_bps=queues.link_rate_bps())
    assert served_per_s == pytest.approx(1000.0 / queues.SERVICE_MS, rel=0.02)
    assert growth == pytest.approx(1.0 / 3.0, rel=0.03)


@pytest.mark.parametrize(("num_cores", "load", "tolerance"), [(2, 0.5, 0.02), (4, 0.8, 0.03)])
def test_tasks_on_several_cores_follow_erlangs_delay_formula(
    queues: ModuleType, num_cores: int, load: float, tolerance: float
) -> None:
    run = queues.run_cores(num_cores, load, duration_s=200.0, seed=3)
    mean_ms, p99_ms = queues.mmc_ms(num_cores, load)
    assert run.mean_ms == pytest.approx(mean_ms, rel=tolerance)
    assert run.p99_ms == pytest.approx(p99_ms, rel=tolerance)
    assert run.littles_gap < 0.005


@pytest.mark.parametrize("num_servers", [1, 2, 5, 20])
@pytest.mark.parametrize("load", [0.1, 0.5, 0.95])
def test_two_ways_to_erlangs_delay_formula_agree(queues: ModuleType, num_servers: int, load: float) -> None:
    direct = queues.erlang_c(num_servers, load * num_servers)
    assert queues.erlang_c_by_recursion(num_servers, load * num_servers) == pytest.approx(direct, rel=1e-12)


def test_erlangs_delay_formula_gives_a_known_value(queues: ModuleType) -> None:
    # One server waits with the chance of its load; two at a load of a half with a third.
    assert queues.erlang_c(1, 0.7) == pytest.approx(0.7)
    assert queues.erlang_c(2, 1.0) == pytest.approx(1.0 / 3.0)

"""The benchmark of goal switches judges in the simulator: what it counts, and what it doesn't."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.bootstrap import build_loop, build_network
from agent.optimiser import plan_cell
from telemetry_sim.network import forks
from telemetry_sim.records import DELAY_BIN_EDGES_MS

_BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def judge() -> Any:
    """The benchmark's module; benchmarks import one another by their bare names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(_BENCHMARKS))
        import goal_switch_judge

        yield goal_switch_judge
        for name in ("goal_switch_judge", "goal_switch_sites"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def site(judge: Any) -> Any:
    """A cell of the city after one interval."""
    del judge
    import goal_switch_sites

    network = build_network("smart-city", seed=11)
    keeping = goal_switch_sites._Keeping(network)
    loop = build_loop(network, keeping)
    for _ in range(3):
        loop.turn()
    return keeping.sites[0]


def test_a_site_is_the_network_as_its_digest_saw_it(site: Any) -> None:
    assert site.network.time_s == pytest.approx(site.digest.end_s)
    assert site.digest.cell == site.topology.cells[site.index].id
    assert {action.cell for action in site.others} == {cell.id for cell in site.topology.cells} - {site.digest.cell}


def test_a_shorter_budget_keeps_a_part_of_the_packets(judge: Any) -> None:
    counts = np.zeros((2, len(DELAY_BIN_EDGES_MS) - 1), np.int64)
    counts[0, 10:60] = 7
    own_ms = np.array([50.0, 50.0])

    assert judge.part_kept(counts, own_ms, own_ms) == pytest.approx([1.0, 1.0])
    parts = [judge.part_kept(counts, own_ms, np.array([budget_ms, 50.0]))[0] for budget_ms in (0.1, 1.0, 10.0, 40.0)]
    assert parts == sorted(parts)
    assert parts[0] == 0.0
    assert judge.part_kept(counts, own_ms, np.array([1.0, 1.0]))[1] == 1.0


def test_nobody_is_owed_what_a_cap_holds_back(judge: Any, site: Any) -> None:
    capped = site.terms.ue_rate_cap_mbps.copy()
    row = int(np.argmax([part.forecast_demand_kbps for part in site.digest.slices]))
    capped[row] = 0.3 * site.digest.slices[row].forecast_demand_kbps / 1000.0 / site.digest.slices[row].num_devices
    plan = plan_cell(site.digest, site.terms)
    whole = replace(plan, slices=tuple(replace(part, min_pct=100 * (at == row)) for at, part in enumerate(plan.slices)))

    (free,) = judge.worth_of([whole], site, site.terms, num_futures=1)
    (held,) = judge.worth_of([whole], site, replace(site.terms, ue_rate_cap_mbps=capped), num_futures=1)
    assert held >= free - 0.02


def test_energy_costs_what_the_goal_says(judge: Any, site: Any) -> None:
    plan = plan_cell(site.digest, site.terms)
    (calm,) = judge.worth_of([plan], site, site.terms, num_futures=1)
    (saving,) = judge.worth_of([plan], site, replace(site.terms, energy_weight=1.0), num_futures=1)
    policy = (*site.others, *judge.to_actions(plan, site.topology, site.terms))
    (future,) = forks.what_if(site.network, [policy], duration_s=site.digest.end_s - site.digest.start_s, seed=0)

    assert calm - saving == pytest.approx(judge.power_w(future, site.index, 10.0) / 1000.0)

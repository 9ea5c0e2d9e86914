"""What a plan is worth, and the queue model that planners use to foresee it.

Shapes: S slices. Shares are percent of a cell's PRBs (radio) or of its edge CPU (compute).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from agent.goal import GoalTerms, PerSlice
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.energy import STATIC_W, edge_power_w

FLOOR_PENALTY = 4.0
"""Utility lost per unit of weight when a floor is missed entirely; larger than any gain, so floors come first."""
SLA_SLOPE = 4.0
"""Allowed losses beyond the target's own over which the SLA's credit fades out."""
CONTRACT_PART = 0.75
"""Part of the SLAs' worth that every slice shares alike; chosen on training seeds (adr/0004)."""
MODEL_SPREAD = 0.2
"""Relative error of the queue model itself; chosen on training seeds (docs/LOG.md)."""
DECILES = np.array([-1.2816, -0.5244, 0.0, 0.5244, 1.2816])
BURSTINESS, TIGHT_BURSTINESS = 2.0, 8.0
"""Squared coefficient of variation of arrivals and service, for relaxed budgets and for those below TIGHT_S.

Tight budgets can't ride out a fade. Chosen on training seeds (docs/LOG.md)."""
TIGHT_S = 0.06
"""Delay-critical 5QIs 82-86 and V2X lie below."""
LENDING_YIELD = 0.5
"""Part of the idle guarantees that borrowers really get; chosen on training seeds (docs/LOG.md)."""
CURVATURE = 9.0
NOMINAL_W = 1000.0
"""Power that costs as much as the goal's energy weight says."""
LOWERING_COST, LOWERING_COST_FLOORED = 0.03, 0.05
"""Utility lost by 3 dB less power in a cell below congestion, without and with floors in the goal (adr/0015)."""
_CLOUD_HZ = 50e9
"""Clock that one task finds in the cloud, which is never full."""

Ratios = Float64[NDArray[np.float64], "..."]


def service_worth(in_time_ratio: Ratios) -> Ratios:
    """Worth of being served, 0-1, with diminishing returns: log(1 + 9 r) / log(10).

    They make starving one slice for another expensive (proportional fairness, Kelly 1997).
    """
    worth: Ratios = np.log1p(CURVATURE * np.clip(in_time_ratio, 0.0, 1.0)) / np.log1p(CURVATURE)
    return worth


def sla_credit(in_time_ratio: Ratios, target: Ratios) -> Ratios:
    """Worth of an SLA, 0-1: whole at `target`, gone at five times its allowed loss."""
    lost = (target - np.clip(in_time_ratio, 0.0, 1.0)) / (SLA_SLOPE * np.maximum(1.0 - target, 1e-3))
    credit: Ratios = np.clip(1.0 - lost, 0.0, 1.0)
    return credit


def contract_weight(weight: PerSlice) -> PerSlice:
    """What each slice's SLA weighs ([S], the same sum as `weight`): priority does not void a small slice's contract."""
    contract: PerSlice = (1.0 - CONTRACT_PART) * weight + CONTRACT_PART * weight.mean()
    return contract


def in_time_fraction(arrival_per_s: Ratios, service_per_s: Ratios, budget_s: Ratios) -> Ratios:
    """Share of packets that a queue of rate `service_per_s` serves within `budget_s`.

    A packet that finds more work before it than fits the budget is late, so the queue is M/M/1/K with
    K = service rate x budget / burstiness, and the share is one minus its blocking probability.
    Source: Kleinrock, Queueing Systems I, 1975, section 3.6; the scaling of K is Kingman's heavy-traffic bound.
    """
    arrival, service = np.broadcast_arrays(np.asarray(arrival_per_s, float), np.asarray(service_per_s, float))
    burstiness = np.where(np.asarray(budget_s) < TIGHT_S, TIGHT_BURSTINESS, BURSTINESS)
    places = np.maximum(service * budget_s / burstiness, 1.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        load = np.where(service > 0, arrival / np.maximum(service, 1e-300), np.inf)
        power = load**places
        light = (1.0 - load) * power / (1.0 - power * load)
        # For load > 1 numerator and denominator are divided by load^(K+1), which keeps them finite.
        heavy = (1.0 - 1.0 / load) / (1.0 - 1.0 / (power * load))
        critical = 1.0 / (places + 1.0)
        blocked = np.where(load < 1.0, light, heavy)
        blocked = np.where(np.abs(load - 1.0) < 1e-9, critical, blocked)
    served = np.where(service > 0, 1.0 - blocked, 0.0)
    return np.where(arrival > 0, np.clip(served, 0.0, 1.0), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLoad:
    """One cell's expected load, in the queue model's units."""

    packets_per_s: PerSlice
    packets_per_s_full: PerSlice
    """Service rate if the slice had every PRB of the cell."""
    budget_s: PerSlice
    spread: PerSlice
    """Relative deviation of the demand and of this model's own error together."""
    tasks_per_s: PerSlice
    tasks_per_s_full: PerSlice
    """Service rate if the slice had the whole edge CPU; 0 where it computes nothing."""
    task_budget_s: PerSlice

    @property
    def load_pct(self) -> PerSlice:
        """Mean PRB demand in percent of the cell; above 100 it cannot be served."""
        return 100.0 * self.packets_per_s / np.maximum(self.packets_per_s_full, 1e-9)

    @property
    def task_load_pct(self) -> PerSlice:
        """Mean CPU demand in percent of the edge node."""
        return np.where(self.tasks_per_s > 0, 100.0 * self.tasks_per_s / np.maximum(self.tasks_per_s_full, 1e-9), 0.0)


def expected_load(digest: EdgeDigest, terms: GoalTerms) -> CellLoad:
    """What the digest's forecast asks of the cell over the next interval."""
    rows = digest.slices
    cap_kbps = terms.ue_rate_cap_mbps * 1000.0 * np.array([max(row.num_devices, 1) for row in rows])
    forecast = np.array([row.forecast_demand_kbps for row in rows])
    deviation = np.array([row.forecast_deviation_kbps for row in rows]) / np.maximum(forecast, 1.0)
    packet_kbit = np.array([row.packet_size_bits for row in rows]) / 1000.0
    cycles = np.array([row.task_megacycles for row in rows]) * 1e6
    tasks = np.where(cycles > 0, [row.forecast_tasks_per_s for row in rows], 0.0)
    uplink_s = 2e-3 * np.array([min(row.delay_p95_ms, row.task_deadline_ms) for row in rows])
    deadline_s = np.array([row.task_deadline_ms for row in rows]) / 1000.0
    return CellLoad(
        packets_per_s=np.minimum(forecast, cap_kbps) / packet_kbit,
        packets_per_s_full=np.array([row.kbps_per_prb for row in rows]) * digest.num_prb / packet_kbit,
        budget_s=np.minimum(terms.delay_budget_ms, [row.delay_budget_ms for row in rows]) / 1000.0,
        spread=np.minimum(np.hypot(MODEL_SPREAD, deviation), 1.0),
        tasks_per_s=tasks,
        tasks_per_s_full=np.where(cycles > 0, digest.edge_cpu_ghz * 1e9 / np.maximum(cycles, 1.0), 0.0),
        task_budget_s=np.maximum(deadline_s - uplink_s, 0.2 * deadline_s),
    )


def demand_factors(spread: PerSlice) -> Ratios:
    """Five equally likely factors on each slice's demand ([5, S]): log-normal deciles 1, 3, 5, 7 and 9."""
    return np.exp(DECILES[:, None] * spread)


def compute_ratio(load: CellLoad, share_pct: Ratios, edge_fraction: Ratios) -> Ratios:
    """Expected in-time ratio of the tasks that stay at the edge with `share_pct` ([..., S]) of its CPU."""
    return in_time_fraction(
        load.tasks_per_s * edge_fraction, load.tasks_per_s_full * share_pct / 100.0, load.task_budget_s
    )


def lend_idle(shares_pct: Ratios, load_pct: Ratios, *, part_kept: float = LENDING_YIELD) -> Ratios:
    """What each slice can use ([..., S]) when idle and unguaranteed percents are lent in proportion to the guarantees.

    Only `part_kept` of what is lent counts, because a slice's queue is not always there when another's is empty.
    """
    own, load = np.broadcast_arrays(shares_pct, load_pct)
    lacking = np.maximum(load - own, 0.0)
    idle = np.maximum(100.0 - np.minimum(own, load).sum(axis=-1, keepdims=True), 0.0)
    claim = np.maximum(own, 1.0) * (lacking > 0)
    part = claim / np.maximum(claim.sum(axis=-1, keepdims=True), 1e-9)
    return np.where(lacking > 0, own + np.minimum(part_kept * part * idle, lacking), own)


def cloud_ratio(digest: EdgeDigest, load: CellLoad) -> PerSlice:
    """Expected in-time ratio of tasks that cross the backhaul, their delay exponential around its mean."""
    cycles = np.array([row.task_megacycles for row in digest.slices]) * 1e6
    mean_s = 2e-3 * max(digest.backhaul_delay_ms, 0.1) + cycles / _CLOUD_HZ
    return np.where(load.task_budget_s > mean_s, 1.0 - np.exp(-load.task_budget_s / mean_s), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What slices get of their packets or tasks, each 0-1; expected values where the outcome is not certain.

    Worth is curved, so what an expected ratio is worth is not the expected worth.
    """

    in_time: Ratios
    service: Ratios
    """`service_worth` of the ratio."""
    credit: Ratios
    """`sla_credit` of the ratio."""

    @classmethod
    def certain(cls, in_time: Ratios, target: Ratios) -> Self:
        """The outcome of a known ratio."""
        return cls(in_time=in_time, service=service_worth(in_time), credit=sla_credit(in_time, target))


def slice_worth(in_time: Ratios, tasks_in_time: Ratios, has_tasks: Ratios, terms: GoalTerms) -> Ratios:
    """Weighted worth of each slice ([..., S]) with known ratios."""
    return outcome_worth(
        Outcome.certain(in_time, terms.target), Outcome.certain(tasks_in_time, terms.target), has_tasks, terms
    )


def outcome_worth(packets: Outcome, tasks: Outcome, has_tasks: Ratios, terms: GoalTerms) -> Ratios:
    """Weighted worth of each slice ([..., S]): radio and, where it computes, tasks count half each.

    Being served counts one half, by priority, and the SLA the other, by `contract_weight`. A missed floor costs
    FLOOR_PENALTY times its relative shortfall.
    """

    def worth(outcome: Outcome) -> Ratios:
        return 0.5 * (terms.weight * outcome.service + contract_weight(terms.weight) * outcome.credit)

    both = np.where(has_tasks > 0, 0.5 * (worth(packets) + worth(tasks)), worth(packets))
    shortfall = np.maximum(terms.floor - packets.in_time, 0.0) / np.maximum(terms.floor, 1e-9)
    return both - FLOOR_PENALTY * terms.weight * shortfall * (terms.floor > 0)


def measured_utility(digest: EdgeDigest, terms: GoalTerms) -> float:
    """Worth of what really happened in the digest's interval, at most 1."""
    in_time = np.array([row.in_time_ratio for row in digest.slices])
    tasks = np.array([row.tasks_in_time_ratio for row in digest.slices])
    has_tasks = np.array([float(row.tasks_per_s > 0) for row in digest.slices])
    worth = slice_worth(in_time, tasks, has_tasks, terms).sum() / terms.weight.sum()
    return float(worth - terms.energy_weight * relative_energy(digest))


def relative_energy(digest: EdgeDigest) -> float:
    """The cell's power against a nominal kilowatt, 0-1."""
    return min(digest.energy_w / NOMINAL_W, 1.0)


def worthwhile_energy_weight(digest: EdgeDigest, terms: GoalTerms) -> float:
    """The goal's energy weight where half the radiated power saves more by it than it costs in service; else 0.

    A cell whose power nobody reports is taken at the goal's word.
    """
    if terms.energy_weight == 0 or digest.energy_w == 0:
        return terms.energy_weight
    cost = LOWERING_COST_FLOORED if (terms.floor > 0).any() else LOWERING_COST
    pays = terms.energy_weight * 0.5 * _radiating_w(digest) / NOMINAL_W >= cost
    return terms.energy_weight if pays else 0.0


def _radiating_w(digest: EdgeDigest) -> float:
    """What radiating takes at the power step 0 and the utilisation of now; under a lower one somewhat overstated."""
    edge_w = float(edge_power_w(digest.edge_cpu_ghz, digest.edge_utilisation))
    radiating_w: float = max(digest.energy_w - STATIC_W - edge_w, 0.0) / 10.0 ** (0.1 * digest.tx_power_step_db)
    return radiating_w

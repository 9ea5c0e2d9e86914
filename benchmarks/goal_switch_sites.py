"""The cells whose goals change in goal_switch.py, each with the network as it was when its digest was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan, to_actions
from agent.goal import GoalTerms
from agent.planner import Decision, optimiser_planner
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.actions import ControlAction
from telemetry_sim.network import Network
from telemetry_sim.scenarios import list_scenarios
from telemetry_sim.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One cell and its surroundings."""

    network: Network
    index: int
    """The cell's place among the network's."""
    digests: tuple[EdgeDigest, ...]
    own_terms: tuple[GoalTerms, ...]
    """What the standing goals ask of each cell."""
    others: tuple[ControlAction, ...]
    """What the other cells obey meanwhile."""

    @property
    def topology(self) -> Topology:
        """All cells and slices."""
        return self.network.topology

    @property
    def digest(self) -> EdgeDigest:
        """This cell's."""
        return self.digests[self.index]

    @property
    def interval_s(self) -> float:
        """How long a plan is in force."""
        return self.digest.end_s - self.digest.start_s

    @property
    def terms(self) -> GoalTerms:
        """What the standing goals ask of this cell."""
        return self.own_terms[self.index]


def held_out_sites(*, num_seeds: int, first_seed: int, num_intervals: int = 12) -> list[Site]:
    """Cells of every scenario under the optimiser's plans; the first interval is left out as a warm-up."""
    sites = []
    for summary in list_scenarios():
        for seed in range(first_seed, first_seed + num_seeds):
            network = build_network(summary.name, seed=seed)
            keeping = _Keeping(network)
            loop = build_loop(network, keeping)
            for _ in range(num_intervals):
                loop.turn()
            sites += keeping.sites
    return sites


class _Keeping:
    """The optimiser as a planner, which keeps every cell's situation."""

    name = "keeping"

    def __init__(self, network: Network) -> None:
        self._network = network
        self._optimiser = optimiser_planner()
        self._is_warm = False
        self.sites: list[Site] = []

    def decide(
        self, digests: Sequence[EdgeDigest], terms: Sequence[GoalTerms], current: Sequence[CellPlan]
    ) -> Decision:
        decision = self._optimiser.decide(digests, terms, current)
        actions = [
            to_actions(cell.plan, self._network.topology, term)
            for cell, term in zip(decision.cells, terms, strict=True)
        ]
        if self._is_warm:
            here = self._network.fork()
            self.sites += [
                Site(
                    network=here,
                    index=index,
                    digests=tuple(digests),
                    own_terms=tuple(terms),
                    others=tuple(action for cell, part in enumerate(actions) if cell != index for action in part),
                )
                for index in range(len(digests))
            ]
        self._is_warm = True
        return decision

"""The learned allocators beside the model in goal_switch.py: proximal policy optimisation on one cell's plan.

They read all that the model reads (the prompt's numbers, what the twin foresees of the expert's plans included) and
choose one of those plans or shares of their own, which start at the optimiser's; the reward is what the plan is worth
in the twin, less the best of the expert's; energy, for which the twin has no word, is left out. One is trained under
the scenarios' own goals and never told of another; one is told the goal, several to each digest. Source: Schulman et
al. 2017; the implementation is stable-baselines3's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from tqdm import tqdm

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan, largest_remainder
from agent.corpus_export import FIRST_TRAINING_SEED, other_terms
from agent.expert import Expert, Foresight
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.planner import FormulaPlanner
from agent.pretraining.evaluation import Case
from agent.prompting import Prompt
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.scenarios import list_scenarios

_MOST_SLICES = 8
_NUM_PLANS = 7
_NUM_CELL, _NUM_COLUMNS = 7, 14
"""Numbers of the prompt's line for the cell and of each slice's, its own number left out."""
_NUMBER = re.compile(r"\d+")
_HIDDEN = [128, 128]
_NUM_GOALS = 3
"""Goals that each digest is met under."""
_FAR = 4.0
"""Greatest score: shares up to e^4 times the optimiser's."""

Allocator = Callable[[EdgeDigest, GoalTerms], CellPlan]
Observation = Float32[NDArray[np.float32], " numbers"]


def train_allocators(num_steps: int, *, seed: int = 5) -> dict[str, tuple[Allocator, bool]]:
    """Both allocators by name, with whether the goal is told; empty where stable-baselines3 is missing."""
    try:
        import stable_baselines3  # noqa: F401 - only whether it is there
    except ImportError:
        print("stable-baselines3 is missing (pip install .[bench]): no learned allocators", file=sys.stderr)
        return {}
    own = _training_cases(seed)
    rng = np.random.default_rng(seed)
    other = [(digest, other_terms(rng, digest, terms)) for digest, terms in own for _ in range(_NUM_GOALS)]
    return {
        "PPO, goal not told": (_train(own, num_steps, seed=seed), False),
        "PPO, goal told": (_train(other, num_steps, seed=seed), True),
    }


def _training_cases(seed: int, *, num_runs: int = 4, num_intervals: int = 30) -> list[Case]:
    cases: list[Case] = []
    for summary in list_scenarios():
        for run in range(num_runs):
            network = build_network(summary.name, seed=FIRST_TRAINING_SEED + 1000 * seed + run)
            loop = build_loop(network, FormulaPlanner(name="optimiser", formula=plan_cell))
            turns = [turn for _ in range(num_intervals) if (turn := loop.turn()) is not None]
            cases += [case for turn in turns for case in zip(turn.digests, turn.terms, strict=True)]
    return cases


def _train(cases: Sequence[Case], num_steps: int, *, seed: int) -> Allocator:
    from stable_baselines3 import PPO

    expert = Expert()
    told = [_Cell(expert.foresee(*case)) for case in tqdm(cases, desc="foreseeing", unit="cell", disable=None)]
    agent: Any = PPO(
        "MlpPolicy",
        _environment(told, seed=seed),
        gamma=0.0,
        n_steps=2048,
        batch_size=256,
        policy_kwargs={"net_arch": _HIDDEN},
        seed=seed,
        device="cpu",
    )
    agent.learn(total_timesteps=num_steps)

    def plan(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        cell = _Cell(expert.foresee(digest, terms))
        action, _ = agent.predict(cell.observation, deterministic=True)
        return cell.chosen(action)

    return plan


class _Cell:
    """What the allocator reads of one cell and may choose there."""

    def __init__(self, foresight: Foresight) -> None:
        prompt = foresight.prompt
        self._foresight = foresight
        self._order = prompt.order
        self.observation = _observe(prompt)

    def chosen(self, action: Any) -> CellPlan:
        """One of the expert's plans, or the optimiser's with its shares weighted anew, as the greatest score says."""
        scores = np.asarray(action, float)
        choice = int(scores[_MOST_SLICES:].argmax())
        if choice > 0:
            return self._foresight.plans[choice - 1]
        plan = self._foresight.plans[0]
        weights = [
            (plan.slices[row].min_pct + 1.0) * float(np.exp(score))
            for row, score in zip(self._order, scores, strict=False)
        ]
        by_row = dict(zip(self._order, largest_remainder(tuple(weights), 100), strict=True))
        rows = tuple(replace(part, min_pct=int(by_row[row])) for row, part in enumerate(plan.slices))
        return replace(plan, slices=rows)

    def reward(self, action: Any) -> float:
        """Worth in the twin over that of the best of the expert's plans."""
        return self._foresight.outlook.utility(self.chosen(action)) - float(self._foresight.utilities.max())


def _environment(told: Sequence[_Cell], *, seed: int) -> Any:
    """One decision is one episode: which plan the cell gets."""
    import gymnasium

    num_numbers = _NUM_CELL + _MOST_SLICES * _NUM_COLUMNS + _NUM_PLANS

    class OneCell(gymnasium.Env[Any, Any]):  # type: ignore[misc] - gymnasium is optional and untyped where it is missing
        observation_space = gymnasium.spaces.Box(0.0, 10.0, (num_numbers,), np.float32)
        action_space = gymnasium.spaces.Box(-_FAR, _FAR, (_MOST_SLICES + 1 + _NUM_PLANS,), np.float32)

        def __init__(self) -> None:
            self._rng = np.random.default_rng(seed)
            self._cell = told[0]

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Observation, dict[str, Any]]:
            super().reset(seed=seed, options=options)
            self._cell = told[int(self._rng.integers(len(told)))]
            return self._cell.observation, {}

        def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
            return self._cell.observation, self._cell.reward(action), True, False, {}

    return OneCell()


def _observe(prompt: Prompt) -> Observation:
    """The prompt's numbers in hundreds: the cell's, slice by slice (zeros where there is none), the plans' lags."""
    cell, *rest = prompt.text.splitlines()
    table = np.zeros((_MOST_SLICES, _NUM_COLUMNS), np.float32)
    for row, line in enumerate(line for line in rest if line.startswith("slice=")):
        table[row] = _numbers(line)[1:]
    lags = next(line for line in rest if line.startswith("lag "))
    return np.concatenate([_numbers(cell), table.reshape(-1), _numbers(lags)]).astype(np.float32)


def _numbers(line: str) -> list[float]:
    return [float(number) / 100.0 for number in _NUMBER.findall(line)]

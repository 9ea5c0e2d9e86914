"""The learned allocators beside the model in goal_switch.py: proximal policy optimisation on shares of one cell.

They read the same numbers as the model (the prompt's, per slice) and are rewarded with the worth of their split, on
digests of training seeds. One is trained under the scenarios' own goals and never told of another; one is told the
goal, which is drawn anew for every digest. Source: Schulman et al. 2017; the implementation is stable-baselines3's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from agent.bootstrap import build_loop, build_network
from agent.cell_plan import CellPlan, largest_remainder
from agent.corpus_export import FIRST_TRAINING_SEED, other_terms
from agent.goal import GoalTerms
from agent.optimiser import plan_cell
from agent.planner import FormulaPlanner
from agent.pretraining.evaluation import Case
from agent.prompting import Prompt, write_prompt
from agent.twin import Twin
from edge_preprocess.digest import EdgeDigest
from telemetry_sim.scenarios import list_scenarios

_MOST_SLICES = 8
_NUM_COLUMNS = 12
_NUMBER = re.compile(r"=(\d+)")
_HIDDEN = [128, 128]

Allocator = Callable[[EdgeDigest, GoalTerms], CellPlan]
Observation = Float32[NDArray[np.float32], " numbers"]


def train_allocators(num_steps: int, *, seed: int = 5) -> dict[str, tuple[Allocator, bool]]:
    """Both allocators by name, with whether the goal is told; empty where stable-baselines3 is missing."""
    try:
        import stable_baselines3  # noqa: F401 - only whether it is there
    except ImportError:
        print("stable-baselines3 is missing (pip install .[bench]): no learned allocators", file=sys.stderr)
        return {}
    cases = _training_cases(seed)
    return {
        "PPO, goal not told": (_train(cases, num_steps, seed=seed, is_told=False), False),
        "PPO, goal told": (_train(cases, num_steps, seed=seed, is_told=True), True),
    }


def _training_cases(seed: int, *, num_runs: int = 2, num_intervals: int = 20) -> list[Case]:
    cases: list[Case] = []
    for summary in list_scenarios():
        for run in range(num_runs):
            network = build_network(summary.name, seed=FIRST_TRAINING_SEED + 1000 * seed + run)
            loop = build_loop(network, FormulaPlanner(name="optimiser", formula=plan_cell))
            turns = [turn for _ in range(num_intervals) if (turn := loop.turn()) is not None]
            cases += [case for turn in turns for case in zip(turn.digests, turn.terms, strict=True)]
    return cases


def _train(cases: list[Case], num_steps: int, *, seed: int, is_told: bool) -> Allocator:
    from stable_baselines3 import PPO

    agent: Any = PPO(
        "MlpPolicy",
        _environment(cases, seed=seed, is_told=is_told),
        gamma=0.0,
        n_steps=2048,
        batch_size=256,
        policy_kwargs={"net_arch": _HIDDEN},
        seed=seed,
        device="cpu",
    )
    agent.learn(total_timesteps=num_steps)

    def plan(digest: EdgeDigest, terms: GoalTerms) -> CellPlan:
        prompt = write_prompt(digest, terms)
        action, _ = agent.predict(_observe(prompt), deterministic=True)
        return _divided(digest, terms, prompt, action)

    return plan


def _environment(cases: list[Case], *, seed: int, is_told: bool) -> Any:
    """One decision is one episode: which slice gets what, rewarded with the plan's worth in the twin."""
    import gymnasium

    class OneCell(gymnasium.Env[Any, Any]):  # type: ignore[misc] - gymnasium is optional and untyped where it is missing
        observation_space = gymnasium.spaces.Box(0.0, 10.0, (_MOST_SLICES * _NUM_COLUMNS,), np.float32)
        action_space = gymnasium.spaces.Box(-4.0, 4.0, (_MOST_SLICES,), np.float32)

        def __init__(self) -> None:
            self._rng = np.random.default_rng(seed)
            self._twin = Twin()
            self._case = cases[0]
            self._prompt = write_prompt(*cases[0])

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Observation, dict[str, Any]]:
            super().reset(seed=seed, options=options)
            digest, terms = cases[int(self._rng.integers(len(cases)))]
            self._case = (digest, other_terms(self._rng, digest, terms) if is_told else terms)
            self._prompt = write_prompt(*self._case)
            return _observe(self._prompt), {}

        def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
            worth = self._twin.utility(_divided(*self._case, self._prompt, action), *self._case)
            return _observe(self._prompt), worth, True, False, {}

    return OneCell()


def _observe(prompt: Prompt) -> Observation:
    """The prompt's numbers, slice by slice, in hundreds; absent slices are zeros."""
    lines = [line for line in prompt.text.splitlines() if line.startswith("slice=")]
    table = np.zeros((_MOST_SLICES, _NUM_COLUMNS), np.float32)
    for row, line in enumerate(lines):
        table[row] = [float(number) / 100.0 for number in _NUMBER.findall(line)[1:]]
    return table.reshape(-1)


def _divided(digest: EdgeDigest, terms: GoalTerms, prompt: Prompt, action: Any) -> CellPlan:
    """Shares as a softmax over the slices, in the prompt's order; all else as the optimiser has it."""
    scores = np.exp(np.asarray(action, float)[: prompt.num_slices])
    shares = largest_remainder(tuple(scores), 100)
    plan = plan_cell(digest, terms)
    by_row = dict(zip(prompt.order, shares, strict=True))
    rows = tuple(replace(part, min_pct=int(by_row[row])) for row, part in enumerate(plan.slices))
    return replace(plan, slices=rows)

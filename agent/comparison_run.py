"""All episodes of a comparison: planners with a model in this process, formulas beside it in another."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Protocol

from agent.comparison import Episode, EpisodeSettings, run_episode
from agent.control_loop import Turn
from agent.planner import FormulaPlanner, KeepPlanner, Planner


class Audience(Protocol):
    """Who watches a comparison run."""

    def start(self, planner: str, seed: int) -> None:
        """An episode begins in this process."""
        ...

    def show(self, turn: Turn) -> None:
        """One turn of it is done."""
        ...

    def skip(self, num_turns: int) -> None:
        """An episode was run elsewhere."""
        ...


def run_comparison(
    settings: EpisodeSettings, planners: Sequence[Planner], seeds: Sequence[int], audience: Audience
) -> tuple[Episode, ...]:
    """Every planner on every seed, in that order whatever ran where; equal seeds give equal episodes."""
    cases = [(planner, seed) for planner in planners for seed in seeds]
    elsewhere = [case for case in cases if isinstance(case[0], FormulaPlanner | KeepPlanner)]
    if len(elsewhere) == len(cases) or (os.cpu_count() or 1) == 1:
        return tuple(_run_here(settings, planner, seed, audience) for planner, seed in cases)
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            futures = {
                (planner.name, seed): pool.submit(run_episode, settings, planner, seed) for planner, seed in elsewhere
            }
            return tuple(_collect(settings, planner, seed, futures, audience) for planner, seed in cases)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(
    settings: EpisodeSettings,
    planner: Planner,
    seed: int,
    futures: dict[tuple[str, int], Future[Episode]],
    audience: Audience,
) -> Episode:
    future = futures.get((planner.name, seed))
    if future is None:
        return _run_here(settings, planner, seed, audience)
    audience.start(planner.name, seed)
    episode = future.result()
    audience.skip(settings.num_intervals)
    return episode


def _run_here(settings: EpisodeSettings, planner: Planner, seed: int, audience: Audience) -> Episode:
    audience.start(planner.name, seed)
    return run_episode(settings, planner, seed, on_turn=audience.show)

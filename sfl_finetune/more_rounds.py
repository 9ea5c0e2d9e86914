"""Whether a run may go on to another number of rounds than it was begun for."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sfl_finetune.errors import CheckpointInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sfl_finetune.federation_settings import FederationSettings

PLANNED = "planned_rounds"
"""Name in a checkpoint's extras of the number of rounds that the run was begun for."""


def all_but_rounds(settings: FederationSettings) -> str:
    """What two runs of different lengths must have in common to be one run at two times."""
    return repr({one.name: getattr(settings, one.name) for one in fields(settings) if one.name != "num_rounds"})


def check_rounds(settings: FederationSettings, folder: Path, meta: Mapping[str, Any]) -> None:
    """Raise CheckpointInvalid where the rounds done are too many, or not those of a run of the length now asked for.

    `meta` is what the checkpoint in `folder` holds beside its tensors.
    """
    done, asked = meta["round"], settings.num_rounds
    planned = meta["extra"].get(PLANNED, asked)
    if done > asked:
        raise CheckpointInvalid(
            f"the run in {str(folder)!r} has done {done} rounds already and {asked} are asked for; "
            f"ask for {done} or more, or choose another --out"
        )
    if planned != asked and not _agree(settings, done, planned, asked):
        raise CheckpointInvalid(
            f"the run in {str(folder)!r} was begun for {planned} rounds and {asked} are asked for, but the learning "
            f"rates of the {done} done would have been others; ask for {planned}, or choose another --out (only a run "
            "with a constant rate, as of finetune --schedule constant, can be given more rounds)"
        )


def _agree(settings: FederationSettings, done: int, planned: int, asked: int) -> bool:
    """Whether each step of the rounds done has the same learning rate in runs of both lengths."""
    each, rate_at = settings.local_steps, settings.optimiser.rate_at
    return all(rate_at(step, planned * each) == rate_at(step, asked * each) for step in range(done * each))

"""The errors of fine-tuning.

SflError
├── CorpusInvalid       the site files must be mended (names file and line)
├── ModelUnsupported    the model can't be split, or the adapter belongs to another base
├── SettingInvalid      a setting is out of its range (names the setting, the value and the range)
├── MessageInvalid      a client or server sent bytes that can't be used; the sender is refused, the round goes on
├── CheckpointInvalid   a checkpoint that is truncated, or belongs to another run or one of another length
├── PlanInfeasible      no cut, batch and rank fit the devices (status 3)
└── TrainingFailed      no client was left to learn from (status 3)
"""

from __future__ import annotations

from typing import ClassVar


class SflError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class CorpusInvalid(SflError):
    """A site file that is empty, malformed or without usable rows."""


class ModelUnsupported(SflError):
    """A model that can't be cut, or an adapter made for another base."""


class SettingInvalid(SflError):
    """A setting out of its range."""


class MessageInvalid(SflError):
    """A message over the link that is too large, malformed, of the wrong shape or not finite."""


class CheckpointInvalid(SflError):
    """A checkpoint that can't be resumed from."""


class PlanInfeasible(SflError):
    """Devices, links and model that no deployment satisfies."""

    exit_status: ClassVar[int] = 3


class TrainingFailed(SflError):
    """A run that can't go on: nobody took part, or nothing finite was learnt."""

    exit_status: ClassVar[int] = 3

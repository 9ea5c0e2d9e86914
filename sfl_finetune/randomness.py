"""Random streams named by what they are for, so that a resumed run draws what an uninterrupted one does."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def derive_seed(seed: int, *keys: str | int) -> int:
    """A seed for one purpose, named by `keys`."""
    words = [crc32(key.encode()) if isinstance(key, str) else key for key in keys]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int, *keys: str | int) -> Iterator[None]:
    """Torch's default streams, started from one purpose's seed and put back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive_seed(seed, *keys))
        yield

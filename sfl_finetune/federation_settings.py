"""How sites and server learn together, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sfl_finetune.errors import SettingInvalid
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.size_limits import MOST_TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sfl_finetune.aggregation import Method
    from sfl_finetune.lora import Task
    from sfl_finetune.schemes import Scheme


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationSettings:
    """How sites and server learn together."""

    task: Task
    scheme: Scheme
    cut_layer: int | Mapping[str, int] = 1
    """Layers at the client: one number for all, or one by site."""
    ranks: Mapping[str, int] = field(default_factory=dict)
    """LoRA ranks of sites that can't hold the adapter's own, which all others have."""
    local_steps: int = 1
    """Steps of each client between two averages."""
    num_rounds: int = 10
    batch_size: int | Mapping[str, int] = 16
    """Texts of a step: one number for all, or one by site."""
    joins: Mapping[str, int] = field(default_factory=dict)
    """Rounds, counted from 0, from which sites take part that aren't there from the start."""
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    aggregation: Method = "fedavg"
    sync: Literal["adapters", "gradients"] = "adapters"
    """gradients: one step of one optimiser on the averaged gradient, which makes Adam equal to centralised training."""
    is_u_shaped: bool = False
    """True: head and labels stay at the client."""
    seed: int = 0
    deadline_seconds: float | None = None
    """Clients that would finish a round later than this, by the clock the federation is given, sit it out."""
    limit_bytes: int = 256 * 2**20
    """Largest message the link accepts."""

    def __post_init__(self) -> None:
        """Refuse what no round could be run with."""
        sizes = [self.batch_size] if isinstance(self.batch_size, int) else [*self.batch_size.values()]
        counts = {"local_steps": [self.local_steps], "num_rounds": [self.num_rounds], "batch_size": sizes}
        for name, values in counts.items():
            if min(values) < 1:
                raise SettingInvalid(f"{name}={min(values)}; allowed: 1 and up")
        if max(sizes) > MOST_TEXTS:
            raise SettingInvalid(f"batch_size={max(sizes)}; allowed: 1 to {MOST_TEXTS}")
        if self.deadline_seconds is not None and not 0 < self.deadline_seconds < math.inf:
            raise SettingInvalid(f"deadline_seconds={self.deadline_seconds} must be above 0 and finite")
        if self.scheme.is_batched and self.is_u_shaped:
            raise SettingInvalid(
                "a batched pass ends in the server's loss: it wants the head at the server, no U-shape"
            )
        if self.aggregation == "exact" and (self.scheme.precision != "fp32" or self.sync != "adapters"):
            raise SettingInvalid("aggregation='exact' adds to the base: it wants precision fp32 and sync='adapters'")
        if self.sync == "gradients" and (self.local_steps != 1 or self.scheme.is_relay):
            raise SettingInvalid("sync='gradients' averages every step: local_steps must be 1 and the scheme no relay")
        self._check_ranks()
        self._check_whole()
        for site, round_ in self.joins.items():
            if not 0 <= round_ < self.num_rounds:
                raise SettingInvalid(f"site {site!r} joins in round {round_}; allowed: 0 to {self.num_rounds - 1}")

    def _check_ranks(self) -> None:
        if not self.ranks:
            return
        if min(self.ranks.values()) < 1:
            raise SettingInvalid(f"ranks={dict(self.ranks)}; allowed: 1 and up")
        if self.aggregation not in {"svd", "exact"}:
            raise SettingInvalid(
                f"ranks by site can't be averaged by aggregation={self.aggregation!r}; allowed: svd, exact"
            )
        if self.scheme.is_relay or self.scheme.is_batched or not self.scheme.is_split or self.sync != "adapters":
            raise SettingInvalid(
                f"ranks by site want an adapter per client: not scheme {self.scheme.name!r} with sync={self.sync!r}"
            )

    def _check_whole(self) -> None:
        if not self.scheme.is_split and (self.joins or not isinstance(self.batch_size, int)):
            raise SettingInvalid(
                f"scheme {self.scheme.name!r} pools all texts: no site joins late or has a batch size of its own"
            )

    def batch_of(self, site: str) -> int:
        """Texts of a site's step."""
        if isinstance(self.batch_size, int):
            return self.batch_size
        if site not in self.batch_size:
            raise SettingInvalid(f"no batch size is given for site {site!r}; given: {', '.join(self.batch_size)}")
        return self.batch_size[site]

    def cut_of(self, site: str) -> int:
        """The cut layer of a site."""
        if isinstance(self.cut_layer, int):
            return self.cut_layer
        if site not in self.cut_layer:
            raise SettingInvalid(f"no cut layer is given for site {site!r}; given: {', '.join(self.cut_layer)}")
        return self.cut_layer[site]

"""What a round did, and the sums it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundReport:
    """What one round did."""

    round: int
    loss: float
    """Mean over all targets learnt from."""
    num_targets: int
    participants: tuple[str, ...]
    dropped: dict[str, str]
    """Reason by client."""
    uplink_bytes: int
    downlink_bytes: int
    learning_rate: float


@dataclass(kw_only=True, slots=True)
class Tally:
    """What a round adds up."""

    loss_sums: dict[str, float] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, loss: float, num_targets: int) -> None:
        self.loss_sums[name] = self.loss_sums.get(name, 0.0) + loss * num_targets
        self.targets[name] = self.targets.get(name, 0) + num_targets

    def drop(self, name: str, reason: str) -> None:
        """A dropped client's earlier steps of the round count no more."""
        self.loss_sums.pop(name, None)
        self.targets.pop(name, None)
        self.dropped[name] = reason

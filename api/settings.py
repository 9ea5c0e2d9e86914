"""How the REST face is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Limits and doors; the defaults suit one machine and nobody else."""

    tokens_are_needed: bool = False
    """Off only where the server listens on loopback; while it has no token, whoever reaches it there is let in."""
    local_hosts: frozenset[str] = frozenset()
    """Names beside loopback's that callers without a token may use for the server."""
    stale_after_s: float = 50.0
    """Wall-clock time without a turn or a new digest after which the server is not ready."""
    max_body_bytes: int = 1_000_000
    body_timeout_s: float = 10.0
    """Wall-clock time in which a body must have arrived."""
    requests_per_s: float = 2_000.0
    """Per caller, sustained."""
    burst: int = 2_000
    max_concurrent: int = 256
    """Requests that are being served at once, event streams apart."""
    max_streams: int = 32
    """Event streams that one caller may have open."""
    chats_per_s: float = 2.0
    """Requests of a chat, per caller, sustained; each costs what a hundred others do."""
    chat_burst: int = 20
    max_goals: int = 10_000
    """More are refused with 507."""
    callback_hosts: frozenset[str] = frozenset()
    """Hosts that status notifications may go to; empty: none."""
    callbacks_may_be_local: bool = False
    """Let notifications go to loopback, private and link-local addresses."""
    simulator_mode: bool = False
    """Emulate O-RAN's A1 simulator: its admin routes and its response bodies."""

    def __post_init__(self) -> None:
        # URLs and Host headers are read in small letters.
        for name in ("local_hosts", "callback_hosts"):
            object.__setattr__(self, name, frozenset(host.lower() for host in getattr(self, name)))

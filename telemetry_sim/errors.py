"""The errors of the network's side.

TelemetrySimError
├── ScenarioInvalid     the configuration must be mended (names the field's path)
├── ActionInvalid       the sender must mend the action; nothing was applied
└── TraceUnreadable     the file as a whole can't be used; single bad rows are quarantined instead
"""

from __future__ import annotations

from typing import ClassVar


class TelemetrySimError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class ScenarioInvalid(TelemetrySimError):
    """A scenario or topology that can't exist."""


class ActionInvalid(TelemetrySimError):
    """An action that names an unknown target or breaks a bound."""


class TraceUnreadable(TelemetrySimError):
    """A recording that is empty, truncated beyond use, or of another format."""

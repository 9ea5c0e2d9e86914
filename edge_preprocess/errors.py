"""The errors of the edge.

EdgeError
├── DigestInvalid       a digest that breaks its contract
├── SiteKeyUnusable     a site key that can't be read or is too short
├── SourceUnreadable    a log, signal or trace that can't be read at all
└── StateUnreadable     saved edge state of another version, or damaged
"""

from __future__ import annotations

from typing import ClassVar


class EdgeError(Exception):
    """Root of the package's errors."""

    exit_status: ClassVar[int] = 2


class DigestInvalid(EdgeError):
    """A digest that breaks its contract."""


class SiteKeyUnusable(EdgeError):
    """A site key that can't be read, or of a length that is no key's."""


class SourceUnreadable(EdgeError):
    """An input file that is missing, empty or of another format."""


class StateUnreadable(EdgeError):
    """Saved state that is damaged or of another version."""

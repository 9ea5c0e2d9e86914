"""A control loop over a quiet network: real gate, store, planner and pipeline; nothing to report."""

from tests.api_stage import client, clock, operations, stage

__all__ = ["client", "clock", "operations", "stage"]

"""A server to attach to: the REST face over a quiet network."""

from tests.api_stage import clock, operations, stage

__all__ = ["clock", "operations", "stage"]

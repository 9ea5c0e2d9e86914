"""Fixtures of the gate's tests."""

from tests.gate_stage import clock, gate, network, store

__all__ = ["clock", "gate", "network", "store"]

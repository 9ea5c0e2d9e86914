"""The simulator's commands, found by entry point; each body stands in a module of its own."""

from telemetry_sim.command_convert import convert
from telemetry_sim.command_record import record
from telemetry_sim.command_simulate import simulate

__all__ = ["convert", "record", "simulate"]

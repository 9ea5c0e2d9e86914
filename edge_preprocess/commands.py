"""The edge's commands, found by entry point; each body stands in a module of its own."""

from __future__ import annotations

import click

from edge_preprocess.command_edge import edge
from edge_preprocess.command_logs import logs
from edge_preprocess.command_signal import signal
from edge_preprocess.command_trace import trace

__all__ = ["digest", "edge"]


@click.group()
def digest() -> None:
    """Show what an edge node would say about logs, signals and traces."""


digest.add_command(logs)
digest.add_command(signal)
digest.add_command(trace)

"""How long a simulated run may be."""

from __future__ import annotations

import click

from telemetry_sim.finite_range import FiniteRange

MOST_SECONDS = 31 * 86_400

duration_option = click.option(
    "--duration",
    "duration_s",
    type=FiniteRange(min=1, max=MOST_SECONDS),
    default=60.0,
    show_default=True,
    help=f"Seconds, at most {MOST_SECONDS:,} (31 days).",
)

"""How a figure of the control plane is shown: measured, beside its target."""

from __future__ import annotations

import sys


def figure(name: str, measured: object, target: str, holds: bool) -> dict[str, object]:
    shown = round(measured, 4) if isinstance(measured, float) else measured
    row = {"figure": name, "measured": shown, "target": target, "holds": holds}
    print(f"{'ok ' if holds else 'NOT'}  {name}: {shown} (target {target})", file=sys.stderr)
    return row

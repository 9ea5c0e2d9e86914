"""Slices that a request names by their 5QI, a name as good as any other that the network has for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetry_sim.topology import Topology

_FIVE_QI = re.compile(
    r"(?:\b(?P<verb>has|have|with|whose|uses?)\s+(?:an?\s+|the\s+)?)?"
    r"(?<![\w.])5[\s_-]?QI[\s_:=#-]*(?P<number>\d{1,3})(?![\w.]*\d)",
    re.IGNORECASE,
)
_LINKING = frozenset({"has", "have", "use", "uses"})


def named_by_five_qi(request: str, topology: Topology) -> str:
    """The request with slices that were said by their 5QI called by their names."""

    def name(found: re.Match[str]) -> str:
        slices = _slices_of(found, topology)
        if len(slices) != 1:
            return found[0]
        verb = (found["verb"] or "").lower()
        return f"is {slices[0]}" if verb in _LINKING else slices[0]

    return _FIVE_QI.sub(name, request)


def asked_back(request: str, topology: Topology) -> str:
    """What is asked about a 5QI that no slice has, or several; else nothing."""
    for found in _FIVE_QI.finditer(request):
        slices = _slices_of(found, topology)
        if not slices:
            known = ", ".join(f"{profile.name} has 5QI {profile.five_qi}" for profile in topology.slices)
            return f"No slice here has 5QI {found['number']}: {known}."
        if len(slices) > 1:
            return f"5QI {found['number']} is that of {' and '.join(slices)}; say which by its name."
    return ""


def _slices_of(found: re.Match[str], topology: Topology) -> list[str]:
    return [profile.name for profile in topology.slices if profile.five_qi == int(found["number"])]

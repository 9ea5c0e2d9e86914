"""A diff told by cell and slice; read without anything heavy."""

from __future__ import annotations

from collections.abc import Sequence

_WORDS = {
    "dedicated_pct": ("dedicated PRBs", " %"),
    "min_pct": ("guaranteed PRBs", " %"),
    "max_pct": ("most PRBs", " %"),
    "ue_rate_cap_mbps": ("cap of a device", " Mb/s"),
    "admission_cap": ("most devices", ""),
    "compute_pct": ("edge CPU", " %"),
    "offload_device_pct": ("tasks on devices", " %"),
    "offload_edge_pct": ("tasks at the edge", " %"),
    "offload_cloud_pct": ("tasks in the cloud", " %"),
    "report_interval_s": ("reports every", " s"),
    "tx_power_step_db": ("transmit power", " dB"),
    "handover_offset_db": ("handover offset", " dB"),
}
"""A setting in an operator's words, and its unit."""


def change_rows(changes: Sequence[dict[str, object]]) -> list[tuple[str, str]]:
    """Where and what, a row for each cell or slice of a cell."""
    rows: dict[str, list[str]] = {}
    for change in changes:
        where = f"cell {change['cell']}{'' if change['slice'] is None else ' ' + str(change['slice'])}"
        name = str(change["field"])
        what, unit = _WORDS.get(name, (name.replace("_", " "), ""))
        rows.setdefault(where, []).append(f"{what} {_told(change['from'])} to {_told(change['to'])}{unit}")
    return [(where, ", ".join(parts)) for where, parts in rows.items()]


def _told(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

"""What is in force, as RRMPolicyRatio objects. Source: 3GPP TS 28.541, 4.3.36."""

from __future__ import annotations

from agent.dispatch.desired import DesiredState
from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.topology import CellSite, Topology


def schedule_of(cell: CellSite, desired: DesiredState, topology: Topology) -> dict[str, object]:
    """One cell's schedule."""
    actions = desired.of_cell(cell.id)
    radio = next((action for action in actions if isinstance(action, CellAction)), CellAction(cell=cell.id))
    ratios = [ratio_of(action, topology) for action in actions if isinstance(action, SliceAction)]
    return {
        "cell": cell.id,
        "RRMPolicyRatio": ratios,
        "txPowerStepDb": radio.tx_power_step_db,
        "sleep": radio.sleep,
        "handoverOffsetDb": radio.handover_offset_db,
    }


def ratio_of(action: SliceAction, topology: Topology) -> dict[str, object]:
    """One slice's share of a cell."""
    name = next(profile.name for profile in topology.slices if profile.id == action.slice)
    return {
        "id": f"{action.cell}-{action.slice}",
        "resourceType": "PRB",
        "rRMPolicyMemberList": [{"sNSSAI": {"sst": action.slice.sst, "sd": f"{action.slice.sd:06x}"}, "name": name}],
        "rRMPolicyDedicatedRatio": action.dedicated_pct,
        "rRMPolicyMinRatio": action.min_pct,
        "rRMPolicyMaxRatio": action.max_pct,
        "scheduler": action.scheduler.value,
        "ueRateCapMbps": action.ue_rate_cap_mbps,
        "admissionCap": action.admission_cap,
        "computeRatio": action.compute_pct,
        "offload": {
            "device": action.offload_device_pct,
            "edge": action.offload_edge_pct,
            "cloud": action.offload_cloud_pct,
        },
        "reportIntervalS": action.report_interval_s,
    }


def changes_between(desired: DesiredState, actions: tuple[ControlAction, ...]) -> list[dict[str, object]]:
    """What the actions would change, field by field."""
    after = desired.after(actions, version=desired.version + 1)
    changes: list[dict[str, object]] = []
    for target, action in after.actions.items():
        before = desired.actions.get(target)
        old = {} if before is None else before.model_dump(mode="json")
        for field, value in action.model_dump(mode="json").items():
            if field not in ("kind", "cell", "slice") and old.get(field) != value:
                where = {"cell": target[0], "slice": None if target[1] is None else str(target[1])}
                changes.append({**where, "field": field, "from": old.get(field), "to": value})
    return changes

"""What a server has in force, read back from its RRMPolicyRatio objects. Source: 3GPP TS 28.541, 4.3.36."""

from __future__ import annotations

from typing import Any

from telemetry_sim.actions import CellAction, ControlAction, SliceAction
from telemetry_sim.topology import SliceId


def actions_of(schedule: dict[str, Any]) -> tuple[ControlAction, ...]:
    """One cell's actions; raises KeyError or ValueError for a document of another shape."""
    cell = int(schedule["cell"])
    radio = CellAction(
        cell=cell,
        tx_power_step_db=schedule["txPowerStepDb"],
        sleep=schedule["sleep"],
        handover_offset_db=schedule["handoverOffsetDb"],
    )
    return (*(_slice_action(cell, ratio) for ratio in schedule["RRMPolicyRatio"]), radio)


def _slice_action(cell: int, ratio: dict[str, Any]) -> SliceAction:
    (member,) = ratio["rRMPolicyMemberList"]
    offload = ratio["offload"]
    return SliceAction(
        cell=cell,
        slice=SliceId(sst=member["sNSSAI"]["sst"], sd=int(member["sNSSAI"]["sd"], 16)),
        dedicated_pct=ratio["rRMPolicyDedicatedRatio"],
        min_pct=ratio["rRMPolicyMinRatio"],
        max_pct=ratio["rRMPolicyMaxRatio"],
        scheduler=ratio["scheduler"],
        ue_rate_cap_mbps=ratio["ueRateCapMbps"],
        admission_cap=ratio["admissionCap"],
        compute_pct=ratio["computeRatio"],
        offload_device_pct=offload["device"],
        offload_edge_pct=offload["edge"],
        offload_cloud_pct=offload["cloud"],
        report_interval_s=ratio["reportIntervalS"],
    )

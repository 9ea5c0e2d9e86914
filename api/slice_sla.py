"""A1 policy type ORAN_SliceSLATarget_1.0.0: what it asks for a slice, and the goal that the agent makes of it.

Source of the fields: O-RAN.WG2.A1TD v2, slice SLA target policy (1.0.0). Throughputs are in kbit/s.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from agent.goal import Expectation, Goal, TargetMetric
from telemetry_sim.topology import SliceProfile, Topology

POLICY_TYPE_ID = "ORAN_SliceSLATarget_1.0.0"
_NO_DIFFERENTIATOR = 0xFFFFFF
_MOST_BITS_PER_HZ = 7.4063
"""One layer of 256QAM at rate 948/1024. Source: 3GPP TS 38.214, table 5.1.3.1-2."""
_MOST_TOLD = 20
"""Cells of a scope that are named."""
_GOAL_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")

Rate = Annotated[float, Ge(0), Le(1e9)]
Number = Annotated[float, Ge(0), Le(1e9)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class PlmnId(_Part):
    """A network operator's code."""

    mcc: Annotated[str, StringConstraints(pattern=r"^[0-9]{3}$")]
    mnc: Annotated[str, StringConstraints(pattern=r"^[0-9]{2,3}$")]


class A1SliceId(_Part):
    """An S-NSSAI within a PLMN."""

    sst: Annotated[int, Ge(0), Le(255)]
    sd: Annotated[str, StringConstraints(pattern=r"^[A-Fa-f0-9]{6}$")] | None = None
    plmnId: PlmnId


class Scope(_Part):
    """What the policy is about."""

    sliceId: A1SliceId


class Objectives(_Part):
    """What the slice shall get; at least one."""

    maxNumberOfUes: Number | None = None
    maxNumberOfPduSessions: Number | None = None
    guaDlThptPerSlice: Rate | None = None
    maxDlThptPerSlice: Rate | None = None
    maxDlThptPerUe: Rate | None = None
    guaUlThptPerSlice: Rate | None = None
    maxUlThptPerSlice: Rate | None = None
    maxUlThptPerUe: Rate | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Objectives:
        if not self.model_fields_set:
            raise ValueError("at least one objective is needed")
        if any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("null is no objective; leave the field out")
        return self


class CId(_Part):
    """A cell's identity: NR or E-UTRA."""

    ncI: Annotated[int, Ge(0), Le(68_719_476_735)] | None = None
    ecI: Annotated[int, Ge(0), Le(268_435_455)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> CId:
        if len(self.model_fields_set) != 1 or (self.ncI is None and self.ecI is None):
            raise ValueError("exactly one of ncI and ecI is needed")
        return self


class A1CellId(_Part):
    """A cell within a PLMN."""

    plmnId: PlmnId
    cId: CId


class TrackingArea(_Part):
    """A tracking area within a PLMN."""

    plmnId: PlmnId
    tac: Annotated[str, StringConstraints(pattern=r"^[A-Fa-f0-9]{6}$")]


class Resources(_Part):
    """Where: cells or tracking areas, one of both."""

    cellIdList: Annotated[tuple[A1CellId, ...], MaxLen(1000)] | None = None
    taIList: Annotated[tuple[TrackingArea, ...], MaxLen(1000)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Resources:
        if len(self.model_fields_set) != 1 or (self.cellIdList is None and self.taIList is None):
            raise ValueError("exactly one of cellIdList and taIList is needed")
        return self


class SliceSlaTarget(_Part):
    """The policy's body."""

    scope: Scope
    sliceSlaObjectives: Objectives
    sliceSlaResources: Resources | None = None


class NotApplicableReason(StrEnum):
    """The words for it. Source: A1TD, policy status."""

    SCOPE = "SCOPE_NOT_APPLICABLE"
    STATEMENT = "STATEMENT_NOT_APPLICABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplicable:
    """Why a well-formed policy can't be enforced here."""

    reason: NotApplicableReason
    detail: str
    """What of it, and what could be."""


_SUPPORTED = frozenset({"guaDlThptPerSlice", "maxDlThptPerUe"})


def to_goal(policy_id: str, target: SliceSlaTarget, topology: Topology) -> Goal | NotApplicable:
    """The goal, or why there is none.

    A guaranteed rate becomes the slice's own in-time target as a floor: with demand up to the guarantee served in
    time, the guarantee holds, and `/v1` reports the rate itself. A policy of which any part can't be enforced is
    not enforced at all, so that ENFORCED never means half of it.
    """
    profile = _profile(target.scope.sliceId, topology)
    cells = _cells(target.sliceSlaResources, topology)
    if profile is None:
        known = ", ".join(sorted(str(each.id) for each in topology.slices))
        return _beyond_scope(f"scope.sliceId names no slice, or none alone; slices are {known}")
    if cells is None:
        known = str(sorted(cell.id for cell in topology.cells)[:20])
        return _beyond_scope(f"sliceSlaResources: a cellIdList of known cells is needed, by ncI; cells are {known}")
    asked = target.sliceSlaObjectives
    unsupported = sorted(asked.model_fields_set - _SUPPORTED)
    if unsupported:
        can_be = " and ".join(sorted(_SUPPORTED))
        return _unenforceable(f"{', '.join(unsupported)} can't be enforced here, only {can_be}")
    expectations: list[Expectation] = []
    if asked.guaDlThptPerSlice is not None:
        most_kbps = _most_kbps(cells, topology)
        if asked.guaDlThptPerSlice > most_kbps:
            rate = f"{asked.guaDlThptPerSlice:.10g} kbit/s"
            return _unenforceable(f"guaDlThptPerSlice {rate}: the cells in scope carry {most_kbps:.0f} at most")
        floor = profile.in_time_target
        expectations.append(
            Expectation(metric=TargetMetric.IN_TIME_RATIO, value=floor, slices=(profile.id,), cells=cells)
        )
    if asked.maxDlThptPerUe is not None:
        rate_mbps = asked.maxDlThptPerUe / 1000.0
        if not 0.001 <= rate_mbps <= 10_000.0:
            return _unenforceable(f"maxDlThptPerUe {asked.maxDlThptPerUe:.10g} kbit/s: 1 to 10000000 can be enforced")
        expectations.append(
            Expectation(metric=TargetMetric.UE_RATE_MBPS, value=rate_mbps, slices=(profile.id,), cells=cells)
        )
    return Goal(id=goal_id(policy_id), expectations=tuple(expectations))


def describe_target(target: SliceSlaTarget) -> str:
    """What a policy asks for, in its own numbers."""
    wanted, resources = target.scope.sliceId, target.sliceSlaResources
    slice_id = f"{wanted.sst}" if wanted.sd is None else f"{wanted.sst}-{wanted.sd.lower()}"
    cells = [] if resources is None or resources.cellIdList is None else [each.cId for each in resources.cellIdList]
    if resources is None:
        where = "over all cells"
    elif resources.taIList is not None:
        where = f"over tracking areas {', '.join(area.tac for area in resources.taIList[:_MOST_TOLD])}"
    else:
        ids = [cell.ncI if cell.ncI is not None else cell.ecI for cell in cells]
        more = f" and {len(ids) - _MOST_TOLD} more" if len(ids) > _MOST_TOLD else ""
        where = f"over cells {', '.join(map(str, ids[:_MOST_TOLD]))}{more}"
    asked = target.sliceSlaObjectives.model_dump(exclude_none=True)
    told = ", ".join(f"{name} {value:.10g}{' kbit/s' if 'Thpt' in name else ''}" for name, value in asked.items())
    return f"slice {slice_id}: {told} {where}"


def goal_id(policy_id: str) -> str:
    """The policy's own id where it is one, else a name made from it."""
    if _GOAL_ID.match(policy_id):
        return policy_id
    return "a1-" + hashlib.sha256(policy_id.encode()).hexdigest()[:32]


def policy_type_document() -> dict[str, Any]:
    """The type as A1-P gives it out: schemas of policy and status."""
    return {"policySchema": _policy_schema(), "statusSchema": _STATUS_SCHEMA}


def _beyond_scope(detail: str) -> NotApplicable:
    return NotApplicable(reason=NotApplicableReason.SCOPE, detail=detail)


def _unenforceable(detail: str) -> NotApplicable:
    return NotApplicable(reason=NotApplicableReason.STATEMENT, detail=detail)


def _profile(wanted: A1SliceId, topology: Topology) -> SliceProfile | None:
    """The slice with this id; where the request has no differentiator, the only slice of the type."""
    if wanted.sd is not None:
        differentiator = int(wanted.sd, 16)
        exact = [p for p in topology.slices if p.id.sst == wanted.sst and p.id.sd == differentiator]
        return exact[0] if exact else None
    same_type = [profile for profile in topology.slices if profile.id.sst == wanted.sst]
    plain = [profile for profile in same_type if profile.id.sd == _NO_DIFFERENTIATOR]
    if plain:
        return plain[0]
    return same_type[0] if len(same_type) == 1 else None


def _cells(resources: Resources | None, topology: Topology) -> tuple[int, ...] | None:
    """Cell ids, empty for all; None where one is unknown. NR cell identities are taken as the topology's cell ids."""
    if resources is None:
        return ()
    if resources.cellIdList is None:
        return None
    known = {cell.id for cell in topology.cells}
    wanted = [cell.cId.ncI for cell in resources.cellIdList]
    if not wanted or any(cell is None or cell not in known for cell in wanted):
        return None
    return tuple(dict.fromkeys(cell for cell in wanted if cell is not None))


def _most_kbps(cells: tuple[int, ...], topology: Topology) -> float:
    """What the cells could carry if every device stood beside the antenna; empty: all cells."""
    in_scope = (cell for cell in topology.cells if not cells or cell.id in cells)
    return _MOST_BITS_PER_HZ * sum(cell.num_prb * cell.prb_khz for cell in in_scope)


def _policy_schema() -> dict[str, Any]:
    number = {"type": "number", "minimum": 0, "maximum": 1e9}
    plmn = {
        "type": "object",
        "properties": {
            "mcc": {"type": "string", "pattern": "^[0-9]{3}$"},
            "mnc": {"type": "string", "pattern": "^[0-9]{2,3}$"},
        },
        "required": ["mcc", "mnc"],
        "additionalProperties": False,
    }
    hex_6 = {"type": "string", "pattern": "^[A-Fa-f0-9]{6}$"}
    cell_identity = {
        "oneOf": [
            _closed({"ncI": {"type": "integer", "minimum": 0, "maximum": 68_719_476_735}}),
            _closed({"ecI": {"type": "integer", "minimum": 0, "maximum": 268_435_455}}),
        ]
    }
    slice_id = {
        "type": "object",
        "properties": {"sst": {"type": "integer", "minimum": 0, "maximum": 255}, "sd": hex_6, "plmnId": plmn},
        "required": ["sst", "plmnId"],
        "additionalProperties": False,
    }
    cell_list = {"type": "array", "maxItems": 1000, "items": _closed({"plmnId": plmn, "cId": cell_identity})}
    area_list = {"type": "array", "maxItems": 1000, "items": _closed({"plmnId": plmn, "tac": hex_6})}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": POLICY_TYPE_ID,
        "description": "O-RAN standard slice SLA policy",
        "type": "object",
        "properties": {
            "scope": _closed({"sliceId": slice_id}),
            "sliceSlaObjectives": {
                "type": "object",
                "properties": dict.fromkeys(Objectives.model_fields, number),
                "minProperties": 1,
                "additionalProperties": False,
            },
            "sliceSlaResources": {"oneOf": [_closed({"cellIdList": cell_list}), _closed({"taIList": area_list})]},
        },
        "required": ["scope", "sliceSlaObjectives"],
        "additionalProperties": False,
    }


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_STATUS_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "description": "O-RAN standard policy status",
    "type": "object",
    "properties": {
        "enforceStatus": {"type": "string", "enum": ["ENFORCED", "NOT_ENFORCED"]},
        "enforceReason": {
            "type": "string",
            "enum": ["SCOPE_NOT_APPLICABLE", "STATEMENT_NOT_APPLICABLE", "OTHER_REASON"],
        },
    },
    "required": ["enforceStatus"],
    "additionalProperties": False,
}

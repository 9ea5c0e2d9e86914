"""What the emulated A1 simulator remembers: types, instances, status, forced answers; gone with the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MAX_INSTANCES = 10_000
_MAX_TYPES = 1_000


@dataclass(slots=True)
class SimulatorState:
    """The simulator's own tables, as O-RAN's simulator keeps them."""

    types: dict[str, dict[str, Any]] = field(default_factory=dict)
    instances: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By type and id: the policies' bodies."""
    statuses: dict[str, dict[str, str]] = field(default_factory=dict)
    """By policy id."""
    callbacks: dict[str, str | None] = field(default_factory=dict)
    type_of: dict[str, str] = field(default_factory=dict)
    """Type of each policy id; an id serves one type only."""
    hosts: set[str] = field(default_factory=set)
    forced_code: int | None = None
    """Status of the next A1 answer."""
    delay_s: int | None = None
    """Wait before every A1 answer."""
    num_deliveries: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.type_of) >= _MAX_INSTANCES

    @property
    def is_full_of_types(self) -> bool:
        return len(self.types) >= _MAX_TYPES

    def put_type(self, type_id: str, document: dict[str, Any]) -> bool:
        """True where the type is new."""
        is_new = type_id not in self.types
        self.types[type_id] = document
        self.instances.setdefault(type_id, {})
        return is_new

    def delete_type(self, type_id: str) -> None:
        self.types.pop(type_id, None)
        self.instances.pop(type_id, None)

    def put(self, type_id: str, policy_id: str, body: Any, destination: str | None) -> bool:
        """True where the policy is new."""
        is_new = policy_id not in self.instances[type_id]
        self.instances[type_id][policy_id] = body
        self.type_of[policy_id] = type_id
        self.callbacks[policy_id] = destination
        self.statuses[policy_id] = {"enforceStatus": "", "enforceReason": ""}
        return is_new

    def delete(self, type_id: str, policy_id: str) -> None:
        del self.instances[type_id][policy_id]
        for table in (self.statuses, self.callbacks, self.type_of):
            table.pop(policy_id, None)

    def delete_instances(self) -> None:
        for known in self.instances.values():
            known.clear()
        for table in (self.statuses, self.callbacks, self.type_of):
            table.clear()
        self.forced_code, self.delay_s = None, None

    def delete_all(self) -> None:
        self.delete_instances()
        self.types.clear()
        self.instances.clear()
        self.num_deliveries = 0

    def counters(self) -> Mapping[str, str]:
        return {
            "num_instances": str(len(self.type_of)),
            "num_types": str(len(self.types)),
            "interface": "STD_2.0.0",
            "remote_hosts": ",".join(sorted(self.hosts)),
            "datadelivery": str(self.num_deliveries),
        }

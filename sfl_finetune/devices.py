"""Devices and links that the virtual clock knows, and how users add their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What computes."""

    name: str
    peak_tflops: float
    """Peak rate in the precision used, 10^12 operations a second."""
    memory_gib: float
    """Memory that training may use."""
    utilisation: float = 0.3
    """Share of the peak that training reaches, 0 to 1."""

    def seconds(self, flop: float) -> float:
        """Time for `flop` operations."""
        return flop / (self.peak_tflops * 1e12 * self.utilisation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """What connects a client to the server."""

    uplink_mbps: float = 100.0
    downlink_mbps: float = 100.0
    is_shared_cell: bool = False
    """True: all clients divide one channel's rates; False: each has a channel of its own."""

    def uplink_seconds(self, num_bytes: float) -> float:
        """Time for a transfer that has the uplink to itself."""
        return num_bytes * 8 / (self.uplink_mbps * 1e6)

    def downlink_seconds(self, num_bytes: float) -> float:
        """Time for a transfer that has the downlink to itself."""
        return num_bytes * 8 / (self.downlink_mbps * 1e6)


DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device(name="jetson-nano", peak_tflops=0.472, memory_gib=4),
        Device(name="jetson-tx2", peak_tflops=1.33, memory_gib=8),
        Device(name="snapdragon-8s-gen-3", peak_tflops=1.689, memory_gib=12),
        Device(name="snapdragon-8-gen-3", peak_tflops=2.774, memory_gib=12),
        Device(name="a17-pro", peak_tflops=2.147, memory_gib=8),
        Device(name="m3", peak_tflops=3.533, memory_gib=16),
        Device(name="rtx-4080-super", peak_tflops=52.2, memory_gib=16),
    )
}
"""Source of the rates: Chen, Wu, Li, Ji, arXiv 2506.02940, table 1."""

CLIENTS = tuple(name for name in DEVICES if name != "rtx-4080-super")
SERVER = "rtx-4080-super"


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    peak_tflops: float = Field(gt=0, allow_inf_nan=False)
    memory_gib: float = Field(gt=0, allow_inf_nan=False)
    utilisation: float = Field(default=0.3, gt=0, le=1)


def read_devices(file: Path) -> dict[str, Device]:
    """The registry with the devices of a YAML list added; a known name is replaced."""
    import yaml

    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingInvalid(f"{str(file)!r} can't be read as YAML: {error}") from error
    if not isinstance(rows, list):
        raise SettingInvalid(f"{str(file)!r} holds a {type(rows).__name__}; wanted a list of devices")
    try:
        found = [_Row.model_validate(row) for row in rows]
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingInvalid(f"{str(file)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return DEVICES | {row.name: Device(**row.model_dump()) for row in found}

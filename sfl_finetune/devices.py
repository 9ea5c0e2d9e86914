"""Devices and links that the virtual clock knows, and how users add their own."""

from __future__ import annotations

from dataclasses import dataclass, field
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


LINKS: dict[str, Channel] = {
    "fast-ethernet": Channel(uplink_mbps=100, downlink_mbps=100),
    "gigabit-ethernet": Channel(uplink_mbps=1000, downlink_mbps=1000),
    "lte-cat-4": Channel(uplink_mbps=50, downlink_mbps=150),
    "lte-m": Channel(uplink_mbps=1, downlink_mbps=1),
}
"""Nominal peak rates: IEEE 802.3; 3GPP TS 36.306, categories 4 and M1. The paper's case study has 100 Mbit/s."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """Devices and links by name."""

    devices: dict[str, Device] = field(default_factory=lambda: dict(DEVICES))
    links: dict[str, Channel] = field(default_factory=lambda: dict(LINKS))

    def device(self, name: str) -> Device:
        """The device of that name."""
        if name not in self.devices:
            raise SettingInvalid(f"device {name!r} is unknown; known: {', '.join(self.devices)}")
        return self.devices[name]

    def channel(self, link: str | None, mbps: float | None) -> Channel:
        """The named link, or one of `mbps` each way; 100 Mbit/s where neither is given."""
        if link is None:
            rate = 100.0 if mbps is None else mbps
            return Channel(uplink_mbps=rate, downlink_mbps=rate)
        if mbps is not None:
            raise SettingInvalid(f"--link {link} and --mbps {mbps:g} are both given; a link has rates of its own")
        if link not in self.links:
            raise SettingInvalid(f"link {link!r} is unknown; known: {', '.join(self.links)}")
        return self.links[link]


class _DeviceRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    peak_tflops: float = Field(gt=0, allow_inf_nan=False)
    memory_gib: float = Field(gt=0, allow_inf_nan=False)
    utilisation: float = Field(default=0.3, gt=0, le=1)


class _LinkRow(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    uplink_mbps: float = Field(gt=0, allow_inf_nan=False)
    downlink_mbps: float = Field(gt=0, allow_inf_nan=False)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    devices: list[_DeviceRow] = []
    links: list[_LinkRow] = []


def read_registry(file: Path | None) -> Registry:
    """What is known, with the rows of a YAML file added; a known name is replaced.

    The file is a list of devices, or holds the lists `devices` and `links`.
    """
    import yaml

    if file is None:
        return Registry()
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingInvalid(f"{str(file)!r} can't be read as YAML: {error}") from error
    if not isinstance(found, list | dict):
        raise SettingInvalid(
            f"{str(file)!r} holds a {type(found).__name__}; wanted a list of devices, or the lists devices and links"
        )
    try:
        rows = _File.model_validate({"devices": found} if isinstance(found, list) else found)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingInvalid(f"{str(file)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return Registry(
        devices=DEVICES | {row.name: Device(**row.model_dump()) for row in rows.devices},
        links=LINKS | {row.name: Channel(**row.model_dump(exclude={"name"})) for row in rows.links},
    )

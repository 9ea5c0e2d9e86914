"""Packet queues of the devices and the division of a cell's capacity between its slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from telemetry_sim.compiled import inner

if TYPE_CHECKING:
    from numpy.typing import NDArray

Records = Any
"""A structured array whose fields kernels reach as attributes."""


PACKET = np.dtype(
    [
        ("arrival_s", np.float64),
        ("ready_s", np.float64),  # when the backhaul has delivered it
        ("size_bits", np.float64),  # a whole number
    ],
    align=True,
)
"""A place of a device's bounded first-in-first-out ring."""

QUEUE_FIELDS: list[tuple[str, type]] = [
    ("head", np.int32),
    ("count", np.int32),
    ("backlog_bits", np.float64),  # whole packets, the one in service included
    ("head_arrival_s", np.float64),  # of the packet at the head, infinite without one
    ("head_ready_s", np.float64),
    ("head_left_bits", np.float64),
]
"""What the owner of a ring keeps of it."""


@inner
def push_packet(
    owners: Records, packets: Records, device: int, arrival_s: float, ready_s: float, size_bits: float
) -> bool:
    """Whether there was room for the packet."""
    num_places = packets.shape[1]
    count = owners[device].count
    if count == num_places:
        return False
    place = (owners[device].head + count) & (num_places - 1)
    packets[device, place].arrival_s = arrival_s
    packets[device, place].ready_s = ready_s
    packets[device, place].size_bits = size_bits
    owners[device].count = count + 1
    owners[device].backlog_bits += size_bits
    if count == 0:
        _show_head(owners, packets, device)
    return True


@inner
def pop_packet(owners: Records, packets: Records, device: int) -> float:
    """Size of the packet that leaves the head."""
    head = owners[device].head
    size_bits = packets[device, head].size_bits
    owners[device].head = (head + 1) & (packets.shape[1] - 1)
    owners[device].count -= 1
    owners[device].backlog_bits -= size_bits
    _show_head(owners, packets, device)
    return float(size_bits)


@inner
def _show_head(owners: Records, packets: Records, device: int) -> None:
    if owners[device].count > 0:
        head = owners[device].head
        owners[device].head_arrival_s = packets[device, head].arrival_s
        owners[device].head_ready_s = packets[device, head].ready_s
        owners[device].head_left_bits = packets[device, head].size_bits
    else:
        # An empty ring starts again at its first place, which is still in the cache.
        owners[device].head = 0
        owners[device].head_arrival_s = np.inf
        owners[device].head_ready_s = np.inf
        owners[device].head_left_bits = 0.0


@inner
def share_capacity(
    needs: NDArray[np.float64],
    dedicated: NDArray[np.float64],
    guaranteed: NDArray[np.float64],
    ceilings: NDArray[np.float64],
    capacity: float,
    granted: NDArray[np.float64],
) -> None:
    """Divide a capacity between slices; all arguments in the same unit, `granted` is written.

    Dedicated capacity stays reserved even idle; guaranteed capacity goes to its slice when needed and is lent while
    idle; no slice passes its ceiling. What is left after the guarantees goes to unmet needs in proportion to the
    guarantees (generalised processor sharing: Parekh and Gallager 1993, eq. 1). When every need is met the grants are
    stretched over what remains, so that packets leave sooner; the unit of time is then not filled.
    """
    num_slices = needs.shape[0]
    left = capacity
    for s in range(num_slices):
        granted[s] = min(needs[s], ceilings[s])
        left -= max(granted[s], min(dedicated[s], ceilings[s]))
    if left >= 0.0:
        # Everybody gets what they need: the most frequent case.
        _stretch(dedicated, ceilings, left, granted)
        return
    left = capacity
    for s in range(num_slices):
        granted[s] = min(needs[s], ceilings[s], guaranteed[s])
        left -= max(granted[s], min(dedicated[s], ceilings[s]))
    if left < 0.0:
        _shrink(granted, capacity, capacity - left)
        return
    for _ in range(num_slices):
        if left <= 1e-9 * capacity:
            return
        left = _fill_once(needs, guaranteed, ceilings, capacity, left, granted)
    _stretch(dedicated, ceilings, left, granted)


@inner
def _shrink(granted: NDArray[np.float64], capacity: float, claimed: float) -> None:
    scale = capacity / claimed
    for s in range(granted.shape[0]):
        granted[s] *= scale


@inner
def _fill_once(
    needs: NDArray[np.float64],
    guaranteed: NDArray[np.float64],
    ceilings: NDArray[np.float64],
    capacity: float,
    left: float,
    granted: NDArray[np.float64],
) -> float:
    """What is left after one round of filling unmet needs by weight."""
    total_weight = 0.0
    for s in range(needs.shape[0]):
        if min(needs[s], ceilings[s]) > granted[s]:
            total_weight += max(guaranteed[s], 0.01 * capacity)
    if total_weight == 0.0:
        return left
    given = 0.0
    for s in range(needs.shape[0]):
        unmet = min(needs[s], ceilings[s]) - granted[s]
        if unmet > 0.0:
            part = min(unmet, left * max(guaranteed[s], 0.01 * capacity) / total_weight)
            granted[s] += part
            given += part
    return left - given


@inner
def _stretch(
    dedicated: NDArray[np.float64], ceilings: NDArray[np.float64], left: float, granted: NDArray[np.float64]
) -> None:
    total = 0.0
    for s in range(granted.shape[0]):
        total += granted[s]
    if total <= 0.0:
        return
    for s in range(granted.shape[0]):
        if granted[s] > 0.0:
            own = max(0.0, dedicated[s] - granted[s])
            granted[s] = min(granted[s] * (1.0 + left / total) + own, ceilings[s])

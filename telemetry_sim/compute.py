"""Compute tasks: a queue per (cell, slice) at the edge node, a processor on each device, and the cloud behind."""

from __future__ import annotations

from typing import Any

import numpy as np

from telemetry_sim.compiled import inner

Records = Any
"""A structured array whose fields kernels reach as attributes."""

CLOUD_CORE_GHZ = 8.0
"""Clock that one task gets in the cloud, where cores are many."""
MAX_QUEUED_TASKS = 256
"""Per cell and slice; a task that finds the queue full is lost."""


TASK = np.dtype(
    [
        ("born_s", np.float64),  # when the device issued it
        ("ready_s", np.float64),  # when its uplink ended
        ("size_cycles", np.float64),
        ("left_cycles", np.float64),  # what several cores have still to do; 0 once done or given up
    ],
    align=True,
)
"""A place of an edge node's first-in-first-out ring, one ring per (cell, slice)."""

TASK_QUEUE_FIELDS: list[tuple[str, type]] = [
    ("task_head", np.int32),
    ("task_count", np.int32),
    ("task_cycles", np.float64),  # work in the queue
    ("task_head_left", np.float64),  # cycles that the task in service still needs
]
"""What the owner of a ring keeps of it."""


@inner
def push_task(owners: Records, tasks: Records, row: int, born_s: float, ready_s: float, size_cycles: float) -> bool:
    """Whether there was room for the task."""
    count = owners[row].task_count
    if count == tasks.shape[1]:
        return False
    place = (owners[row].task_head + count) & (tasks.shape[1] - 1)
    tasks[row, place].born_s = born_s
    tasks[row, place].ready_s = ready_s
    tasks[row, place].size_cycles = size_cycles
    tasks[row, place].left_cycles = size_cycles
    owners[row].task_count = count + 1
    owners[row].task_cycles += size_cycles
    if count == 0:
        owners[row].task_head_left = size_cycles
    return True


@inner
def pop_task(owners: Records, tasks: Records, row: int) -> None:
    """Take the task at the head away."""
    head = owners[row].task_head
    owners[row].task_cycles -= tasks[row, head].size_cycles
    head = (head + 1) & (tasks.shape[1] - 1)
    owners[row].task_head = head
    owners[row].task_count -= 1
    if owners[row].task_count > 0:
        owners[row].task_head_left = tasks[row, head].size_cycles
    else:
        owners[row].task_head_left = 0.0
        owners[row].task_cycles = 0.0

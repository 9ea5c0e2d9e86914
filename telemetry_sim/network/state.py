"""Everything that changes while a network runs, as arrays of records that compiled kernels share.

Shapes: D devices, L candidate cells of a device, C cells, S slices, R = C * S rows (cell-major), B delay bins,
Q places of a packet queue, T places of a task queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from telemetry_sim.compiled import kernel
from telemetry_sim.compute import TASK_QUEUE_FIELDS
from telemetry_sim.queueing import QUEUE_FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Records = Any
"""A structured array whose fields kernels reach as attributes, `devices[i].cell`, and NumPy by name."""

DEVICE = np.dtype(
    [
        # Cache lines of 64 bytes, by who reads them together. First what the scheduler reads in every millisecond,
        ("bits_per_prb_ms", np.float64),
        ("blocked_until_s", np.float64),  # end of a handover's or restart's interruption
        ("average_bits", np.float64),  # throughput that proportional fairness weighs, in bits a millisecond
        *QUEUE_FIELDS,
        # then what a served packet changes,
        ("served_bits", np.float64),
        ("in_time_bits", np.float64),
        ("served_packets", np.int64),
        ("delay_sum_s", np.float64),
        ("prb_ms", np.float64),
        ("busy_s", np.float64),  # receiving
        ("tokens_bits", np.float64),  # what the rate cap still allows
        ("tokens_at_s", np.float64),
        # then what an arriving packet reads and changes,
        ("next_packet_s", np.float64),
        ("next_task_s", np.float64),
        ("packets_per_s", np.float64),
        ("size_bits", np.float64),
        ("demand_factor", np.float64),  # A device's own factor on its traffic: 1, or what a fault makes of it
        ("offered_bits", np.float64),
        ("offered_packets", np.int32),
        ("event_next", np.int32),  # the next in a linked list of devices that share a millisecond of their next event
        ("slice", np.int16),
        ("cell", np.int16),  # serving cell; -1 while none reaches it
        ("traffic", np.int8),
        ("is_admitted", np.bool_),
        ("is_on", np.bool_),  # false once its battery is empty
        ("is_los", np.bool_),  # of the serving link
        # then what every step changes,
        ("signal_mw", np.float64),  # of the serving cell, per PRB, before fading
        ("disturbance_mw", np.float64),  # noise and interference per PRB
        ("rng", np.uint64),  # the device's own stream of chances
        ("sinr_sum_db", np.float32),
        ("fade_real", np.float32),
        ("fade_imaginary", np.float32),
        ("fade_rho", np.float32),
        ("fade_fresh", np.float32),  # what the gain draws anew in a step
        ("sinr_db", np.float32),
        ("position", np.int32),  # packets emitted so far
        ("active_place", np.int32),  # in its row's active part, -1 when idle
        ("dropped_bits", np.float64),
        # and the rest.
        ("x_m", np.float64),
        ("y_m", np.float64),
        ("heading_rad", np.float32),
        ("speed_mps", np.float32),
        ("on_s", np.float32),
        ("off_s", np.float32),
        ("phase_end_s", np.float64),  # end of the running on phase
        ("tasks_per_s", np.float64),
        ("task_cycles", np.float64),
        ("task_bits", np.float64),
        ("cpu_ghz", np.float32),
        ("has_exponential_tasks", np.bool_),
        ("mobility", np.int8),
        ("cpu_free_s", np.float64),
        ("attached_s", np.float64),  # since when it is in its cell: admission refuses the newest
        ("next_report_s", np.float64),
        ("battery_j", np.float64),  # naN for mains power
        ("transmit_w", np.float32),
        ("dropped_packets", np.int32),
        ("uplink_s", np.float64),  # transmitting
        ("energy_j", np.float64),
    ],
    align=True,
)
"""A device: what it is and does, and its counters of the period."""

CELL = np.dtype(
    [
        ("x_m", np.float64),
        ("y_m", np.float64),
        ("height_m", np.float64),
        ("environment", np.int64),
        ("carrier_ghz", np.float64),
        ("num_prb", np.float64),
        ("slots_per_ms", np.float64),
        ("noise_mw", np.float64),  # per PRB, the device's noise figure included
        ("full_power_mw", np.float64),  # radiated in total at step 0
        ("power_step_db", np.float64),
        ("is_asleep", np.bool_),
        ("is_up", np.bool_),
        ("offset_db", np.float64),
        ("prb_mw", np.float64),  # radiated per PRB; 0 while down or asleep
        ("attraction", np.float64),  # the offset in linear units
        ("load", np.float64),  # PRB utilisation (0-1) over the last period: how strongly it interferes
        ("jamming_mw", np.float64),  # per PRB at the cell's devices, from outside the network
        ("lost_prb", np.float64),  # taken by signalling in the coming period
        ("edge_hz", np.float64),
        ("edge_cores", np.int64),
        ("edge_factor", np.float64),  # part of the edge node that works; 0 after a crash
        ("edge_pause", np.float64),  # part of the edge node that a change of shares stops for the coming period
        ("backhaul_bps", np.float64),
        ("backhaul_factor", np.float64),  # part of the backhaul's capacity that works
        ("backhaul_s", np.float64),  # one-way delay of an idle link
        ("backhaul_free_s", np.float64),  # when the link will have sent what waits
        ("backhaul_up_free_s", np.float64),  # likewise towards the core: a link carries both directions at once
        ("uplink_free_s", np.float64),
        ("prb_ms", np.float64),
        ("edge_cycles", np.float64),
        ("backhaul_bits", np.float64),
        ("backhaul_up_bits", np.float64),
        ("backhaul_wait_s", np.float64),
        ("backhaul_packets", np.int64),
        ("interference_mw", np.float64),
        ("num_handovers", np.int64),
        ("num_handover_failures", np.int64),
    ],
    align=True,
)
"""A cell, its edge node and its backhaul, and their counters of the period."""

ROW = np.dtype(
    [
        ("dedicated", np.float64),
        ("guaranteed", np.float64),
        ("ceiling", np.float64),  # the three as shares (0-1) of the cell's PRBs
        ("scheduler", np.int8),
        ("cap_bits_per_ms", np.float64),  # per device; infinite without a cap
        ("admission_cap", np.int64),  # -1 without a cap
        ("compute", np.float64),  # guaranteed share (0-1) of the edge node
        ("offload_device", np.float64),
        ("offload_edge", np.float64),
        ("report_interval_s", np.float64),
        ("demand_factor", np.float64),
        ("task_factor", np.float64),
        ("budget_s", np.float64),
        ("discard_s", np.float64),
        ("deadline_s", np.float64),  # of a task
        ("turn", np.int64),  # round robin's next place
        ("prb_ms", np.float64),
        ("tasks_offered", np.int64),
        ("tasks_in_time", np.int64),
        ("tasks_done", np.int64),
        ("task_delay_s", np.float64),
        ("edge_cycles_offered", np.float64),
        ("edge_cycles_used", np.float64),
        ("offered_bits", np.float64),
        ("served_bits", np.float64),
        ("in_time_bits", np.float64),
        ("dropped_bits", np.float64),
        # Sums of the times at which packets and tasks came and went: their difference is an area under a queue.
        ("packets_came_s", np.float64),
        ("packets_went_s", np.float64),
        ("tasks_came", np.int64),
        ("tasks_went", np.int64),
        ("tasks_came_s", np.float64),
        ("tasks_went_s", np.float64),
        *TASK_QUEUE_FIELDS,
    ],
    align=True,
)
"""A slice in a cell: the policy in force there, and its counters of the period."""

LINK = np.dtype(
    [
        ("cell", np.int16),
        ("gain", np.float32),  # linear, shadowing included
        ("shadow_db", np.float32),
        ("sight", np.float32),  # in line of sight where below the probability
    ],
    align=True,
)
"""A device's link to a candidate cell."""


class State(NamedTuple):
    """All of it, and a random stream per device."""

    devices: Records
    """D."""
    links: Records
    """D x L."""
    cells: Records
    """C."""
    rows: Records
    """R."""
    packets: Records
    """D x Q."""
    tasks: Records
    """R x T."""
    delay_counts: NDArray[np.int64]
    """R x B."""
    task_delay_counts: NDArray[np.int64]
    """R x B: tasks from their birth to their result, wherever they ran."""
    rng: NDArray[np.uint64]
    """D: the devices' field of that name, as are `active_place` and `event_next`.

    In arrays of their own they would take three cache lines more of a device.
    """
    members: NDArray[np.int32]
    """Devices sorted by row, then by index; those that no cell serves last. Rebuilt each period."""
    start: NDArray[np.int64]
    """R + 2 offsets into members."""
    active: NDArray[np.int32]
    """Scratch of the same layout: each row's backlogged devices."""
    active_place: NDArray[np.int32]
    """Place of a device in its row's active part, -1 when idle."""
    active_ready_s: NDArray[np.float64]
    """By place in `active`: when the head can be sent, infinite while nothing can."""
    active_rank: NDArray[np.float64]
    """By place in `active`: the scheduler's rank once the head is ready; the lower, the sooner served."""
    active_need_prb: NDArray[np.float64]
    """By place in `active`: PRBs that would empty the buffer within a millisecond."""
    event_next: NDArray[np.int32]
    """Linked lists of devices that share a millisecond of their next event."""


class LinkTable(NamedTuple):
    """What a link carries at each SINR: entries every quarter of a decibel from -15 to 45 dB."""

    bits_per_slot: NDArray[np.float64]
    """Expected goodput of one PRB in one slot."""
    cqi: NDArray[np.int8]
    mcs: NDArray[np.int8]
    bler: NDArray[np.float32]


TABLE_LOW_DB = -15.0
TABLE_STEP_DB = 0.25
TABLE_SIZE = 241


_CACHE_LINE = 64
VIEWS = ("rng", "active_place", "event_next")
"""Arrays of a state that are fields of its devices."""


def cache_aligned(shape: int | tuple[int, ...], dtype: np.dtype[np.void]) -> Records:
    """Zeroed records that begin on a cache line."""
    size = int(np.prod(shape)) * dtype.itemsize
    store = np.zeros(size + _CACHE_LINE, np.uint8)
    skip = -store.ctypes.data % _CACHE_LINE
    return store[skip : skip + size].view(dtype).reshape(shape)


def copy_state(state: State) -> State:
    """A state that shares nothing with the original."""
    own = {name: _copy(array) for name, array in state._asdict().items() if name not in VIEWS}
    return State(**own, **views(own["devices"]))


def views(devices: Records) -> dict[str, NDArray[Any]]:
    """The arrays of a state that are fields of its devices, by name."""
    return {name: devices[name] for name in VIEWS}


def _copy(array: Records) -> Records:
    if array.dtype.names is None:
        return array.copy()
    fresh = cache_aligned(array.shape, array.dtype)
    fresh[...] = array
    return fresh


_CELL_COUNTERS = (
    *("prb_ms", "edge_cycles", "backhaul_bits", "backhaul_up_bits", "backhaul_wait_s", "backhaul_packets"),
    *("interference_mw", "num_handovers", "num_handover_failures"),
)
_ROW_COUNTERS = (
    *("prb_ms", "tasks_offered", "tasks_in_time", "tasks_done", "task_delay_s"),
    *("edge_cycles_offered", "edge_cycles_used", "offered_bits", "served_bits", "in_time_bits", "dropped_bits"),
    *("packets_came_s", "packets_went_s", "tasks_came", "tasks_went", "tasks_came_s", "tasks_went_s"),
)


def clear_counters(state: State) -> None:
    """Begin a period: the counters of the last one go."""
    _clear_devices(state.devices)
    for records, names in (
        (state.cells, _CELL_COUNTERS),
        (state.rows, _ROW_COUNTERS),
    ):
        for name in names:
            records[name] = 0
    state.delay_counts[:] = 0
    state.task_delay_counts[:] = 0


@kernel
def _clear_devices(devices: Records) -> None:
    """In one look at each record; column by column every line of memory would be fetched several times."""
    for device in range(devices.shape[0]):
        devices[device].offered_bits = 0.0
        devices[device].served_bits = 0.0
        devices[device].in_time_bits = 0.0
        devices[device].dropped_bits = 0.0
        devices[device].offered_packets = 0
        devices[device].served_packets = 0
        devices[device].dropped_packets = 0
        devices[device].delay_sum_s = 0.0
        devices[device].prb_ms = 0.0
        devices[device].busy_s = 0.0
        devices[device].uplink_s = 0.0
        devices[device].sinr_sum_db = 0.0
        devices[device].energy_j = 0.0


@kernel
def add_up(devices: Records) -> tuple[float, float, float, int, int, int, int]:
    """Bits and packets offered, served and dropped in the period, and packets that wait: whole numbers, all exact."""
    offered_bits, served_bits, dropped_bits = 0.0, 0.0, 0.0
    offered, served, dropped, waiting = 0, 0, 0, 0
    for device in range(devices.shape[0]):
        offered_bits += devices[device].offered_bits
        served_bits += devices[device].served_bits
        dropped_bits += devices[device].dropped_bits
        offered += devices[device].offered_packets
        served += devices[device].served_packets
        dropped += devices[device].dropped_packets
        waiting += devices[device].count
    return offered_bits, served_bits, dropped_bits, offered, served, dropped, waiting

"""Writes the small recordings beside it, from invented numbers, with every trap of each format.

    python tests/replay/recordings/make_recordings.py [FOLDER]

Every number comes from a formula and a seed in this file; none was taken from a real recording.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from telemetry_sim.radio.lte_transport_block import lte_transport_block_bits
from telemetry_sim.records import Alarm, LogRecord, SensorColumns, Severity, TelemetryFrame
from telemetry_sim.topology import CellSite, SliceId, SliceProfile, Topology
from telemetry_sim.traces import ParquetRecorder
from telemetry_sim.traces.frame_building import COLUMNS, device_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

SCOPE_HEADER = (
    "Timestamp,num_ues,IMSI,RNTI,,slicing_enabled,slice_id,slice_prb,power_multiplier,scheduling_policy,,dl_mcs,"
    "dl_n_samples,dl_buffer [bytes],tx_brate downlink [Mbps],tx_pkts downlink,tx_errors downlink (%),dl_cqi,,ul_mcs,"
    "ul_n_samples,ul_buffer [bytes],rx_brate uplink [Mbps],rx_pkts uplink,rx_errors uplink (%),ul_rssi,ul_sinr,phr,,"
    "sum_requested_prbs,sum_granted_prbs,,dl_pmi,dl_ri,ul_n,ul_turbo_iters"
)
START_MS = 1_700_000_000_000
EARLIER_MS = START_MS - 86_400_000 * 150
GAP_AFTER, GAP_MS = 120, 90_000
"""Rows per device before the silence, and its length."""

EARLIER_ROWS, DUPLICATE_ROWS = 40, 5
BAD_SCOPE_ROWS = {"column_count": 1, "not_a_number": 1, "not_finite": 1, "out_of_range": 2}

# Device, traffic name, mean Mb/s, MCS, and how much the load swings over the recording.
SCOPE_DEVICES = (
    (2, "embb_11_11", 6.0, 14.0, 0.6),
    (3, "mmtc_11_11", 0.08, 8.0, 0.1),
    (4, "URLLC_11_11", 0.4, 11.0, 0.3),
    (5, "urll_11_11", 0.5, 16.0, 0.3),
)
SCOPE_ROWS_PER_DEVICE = 240

EXPLORA_STATES = 60
EXPLORA_ACTIONS_ON_OLD_STATE = 5
BAD_EXPLORA_RECORDS = {"junk": 2, "column_count": 2, "not_a_number": 1, "not_finite": 1, "out_of_range": 1}

PARQUET_FRAMES, PARQUET_DEVICES = 40, 12


def main(folder: Path) -> None:
    """Write all three recordings under a folder."""
    write_scope(folder / "scope_multi4")
    write_explora(folder / "explora" / "xapp_invented_agent.log")
    write_parquet(folder / "own.parquet")


def write_scope(folder: Path) -> None:
    """A run of four devices of three traffic classes, one row a device and 250 ms."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    notes = [f"Using trace: ./raw/{name}.csv for {_imsi(number)}" for number, name, *_ in SCOPE_DEVICES]
    (folder / "output_multi4.txt").write_text("\n".join(notes) + "\n")
    for number, _, mbps, mcs, swing in SCOPE_DEVICES:
        lines = list(_scope_rows(number, mbps, mcs, swing, rng))
        if number == SCOPE_DEVICES[0][0]:
            lines = [*_earlier_rows(number, rng), *lines]
            lines[100:100] = lines[95 : 95 + DUPLICATE_ROWS]
        if number == SCOPE_DEVICES[1][0]:
            lines += _bad_rows(lines[-1])
        (folder / f"{_imsi(number)}_metrics.csv").write_text("\n".join([SCOPE_HEADER, *lines]) + "\n")


def _imsi(number: int) -> int:
    return 999_700_000_000_000 + number


def _scope_rows(number: int, mbps: float, mcs: float, swing: float, rng: np.random.Generator) -> Iterator[str]:
    backlog_bytes = 0.0
    for index in range(SCOPE_ROWS_PER_DEVICE):
        # Devices join two seconds apart, and all fall silent once.
        late_ms = GAP_MS if index >= GAP_AFTER else 0
        unix_ms = START_MS + 2000 * number + 250 * index + late_ms
        wave = 1.0 + swing * np.sin(2 * np.pi * index / SCOPE_ROWS_PER_DEVICE)
        wanted_bits = backlog_bytes * 8 + rng.poisson(mbps * wave * 2.5e5 / 1000) * 1000
        mcs_now = round(float(np.clip(mcs + rng.normal(0, 1), 0, 28)), 3)
        bits_per_prb = float(lte_transport_block_bits(mcs_now, 25.0)) / 25.0
        # A quarter of the cell is what this device can get at most.
        granted = int(min(np.ceil(wanted_bits / bits_per_prb), 250 * 12.5))
        served_bits = min(wanted_bits, granted * bits_per_prb)
        backlog_bytes = float(round((wanted_bits - served_bits) / 8))
        samples = int(np.ceil(granted / 12.5))
        yield _scope_row(unix_ms, number, mcs_now, samples, backlog_bytes, served_bits / 2.5e5, granted)


def _scope_row(
    unix_ms: int, number: int, mcs: float, samples: int, backlog_bytes: float, mbps: float, granted: int
) -> str:
    return (
        f"{unix_ms},4,{_imsi(number)},{70 + number},,0,0,0,1,0,,{mcs},{samples},{backlog_bytes:.0f},{mbps:.6f},"
        f"{samples},0,{min(15, int(mcs / 2) + 2)},,12.5,10,0,0.1,4,0,0,25.5,31,,{granted},{granted},,0,0,0,1"
    )


def _earlier_rows(number: int, rng: np.random.Generator) -> Iterator[str]:
    for index in range(EARLIER_ROWS):
        mbps = 0.5 + 0.1 * float(rng.random())
        yield _scope_row(EARLIER_MS + 250 * index, number, 12.0, 40, 0.0, mbps, 600)


def _bad_rows(good: str) -> list[str]:
    cells = good.split(",")

    def changed(column: int, value: str) -> str:
        return ",".join([*cells[:column], value, *cells[column + 1 :]])

    buffer_column, rate_column, time_column = 13, 14, 0
    return [
        ",".join(cells[:20]),
        changed(rate_column, "fast"),
        changed(rate_column, "nan"),
        changed(buffer_column, "-5"),
        changed(time_column, "12"),
    ]


def write_explora(file: Path) -> None:
    """An xApp log of two devices in each of three slices, traffic profile 1, both dialects of actions."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(12)
    lines = [
        "2031-01-05 10:00:00,100 INFO     Agents loaded",
        "2031-01-05 10:00:00,200 DEBUG    NZ ENTRIES [array([[1.0e+00, 2.0e+00, 3.0e+00],",
        "       [4.0e+00, 5.0e+00, 6.0e+00]])]",
    ]
    rbgs = np.array([10, 3, 4])
    prbs = rbgs * 3 - np.array([0, 0, 1])
    for index in range(EXPLORA_STATES):
        stamp = f"2031-01-05 10:{(index + 5) // 60:02d}:{(index + 5) % 60:02d}"
        if index % 12 == 7:
            lines.append(f"{stamp},400 INFO     Using previous socket data")
        else:
            lines.append(f"{stamp},400 INFO     Received data: '{_state(prbs, index, rng)}'")
        rbgs = rng.multinomial(14, [0.6, 0.15, 0.25]) + 1
        prbs = rbgs * 3 - np.array([0, 0, 1])
        lines += _actions(stamp, rbgs, prbs, rng)
    lines.append("2031-01-05 10:02:00,000 INFO     Send Action on E2 - slice_prb [60, 3, 2], sched [0, 0, 0]")
    lines.append("2031-01-05 10:02:01,000 INFO     Received data: '0,0,1.0")
    file.write_text("\n".join(lines) + "\n")


def _state(prbs: np.ndarray, index: int, rng: np.random.Generator) -> str:
    records = []
    for _ in range(2):
        for slice_index, (mbps, packets) in ((2, (0.11, 20)), (1, (0.06, 12)), (0, (4.2, 170))):
            for _report in range(2):
                limit = 0.6 * prbs[slice_index] / 2
                rate = min(mbps * (1 + 0.05 * rng.normal()), limit)
                buffer = int(20_000 * max(0.0, mbps - limit))
                ratio = min(1.0, limit / mbps) if buffer else 1.0
                records.append(f"{slice_index},{buffer},{rate:.2f},{ratio:.2f},{prbs[slice_index]},{packets}")
    bad = {
        3: ["\\x11\\x17\\x01"],
        4: ["A\\x14"],
        5: ["1,2,3"],
        6: ["1,0,fast,1.00,3,4", "1,0,nan,1.00,3,4"],
        9: ["7,0,0.1,1.00,3,4"],
    }
    return "\\n".join(records + bad.get(index, []))


def _actions(stamp: str, rbgs: np.ndarray, prbs: np.ndarray, rng: np.random.Generator) -> list[str]:
    schedulers = ", ".join(str(number) for number in rng.integers(0, 3, 3))
    means = f"slice_prb [{', '.join(map(str, prbs))}] (slice_rbg [{', '.join(map(str, rbgs))}]), sched [{schedulers}]"
    if rng.random() < 0.5:
        reward = f"Action is [1] Reward_avg is: {rng.normal():.6f} reward for slice [ 4.2 12.   0. ]"
        return [f"{stamp},500 INFO     {reward}", f"{stamp},501 INFO     Action means {means}"]
    return [f"{stamp},500 INFO     Send Action on E2 - {means}", f"{stamp},600 INFO     reward {rng.normal():.6f}"]


def own_topology() -> Topology:
    """The topology of the Parquet recording: two cells, two slices."""
    cells = tuple(
        CellSite(id=number, name=f"cell-{number}", x_m=400.0 * number, y_m=0.0, neighbours=(3 - number,))
        for number in (1, 2)
    )
    video = SliceProfile(
        id=SliceId(sst=1),
        name="video",
        five_qi=9,
        delay_budget_ms=300.0,
        in_time_target=0.95,
        packet_size_bits=12_000.0,
    )
    control = SliceProfile(
        id=SliceId(sst=2),
        name="control",
        five_qi=82,
        delay_budget_ms=10.0,
        in_time_target=0.99,
        packet_size_bits=800.0,
    )
    return Topology(cells=cells, slices=(video, control))


def own_frames() -> Iterator[tuple[TelemetryFrame, list[LogRecord], list[Alarm]]]:
    """Frames of 12 devices with NaN, an empty frame, sensor readings, log lines and an alarm."""
    rng = np.random.default_rng(13)
    ids = np.arange(PARQUET_DEVICES)
    for index in range(PARQUET_FRAMES):
        reporting = ids[:0] if index == 20 else ids
        size = len(reporting)
        offered = np.where(reporting % 2 == 0, 2e6, 1.6e4) * rng.uniform(0.8, 1.2, size)
        served = offered * np.where(rng.random(size) < 0.1, 0.8, 1.0)
        columns = {name: rng.uniform(0, 10, size) for name in COLUMNS}
        columns |= {
            "offered_bits": offered,
            "served_bits": served,
            "in_time_bits": 0.97 * served,
            "dropped_bits": np.zeros(size),
            "bler": rng.uniform(0, 0.2, size),
            "rsrp_dbm": rng.uniform(-110, -70, size),
            "battery_j": np.full(size, np.nan),
        }
        frame = TelemetryFrame(
            time_s=index + 1.0,
            period_s=1.0,
            devices=device_columns(reporting, reporting % 2, (reporting // 2) % 2, columns),
            sensors=_readings(index) if index % 10 == 0 else None,
            stream_names=("vibration",) if index % 10 == 0 else (),
        )
        logs = [
            LogRecord(time_s=index + 0.5, cell=index % 2, source="gnb", text=f"link {index} ok; temp=4{index % 10}")
        ]
        alarm = Alarm(time_s=index + 0.7, cell=1, severity=Severity.MAJOR, kind="cell_outage", is_cleared=index > 15)
        yield frame, logs, [alarm] if index in {15, 18} else []


def _readings(index: int) -> SensorColumns:
    return SensorColumns(
        time_s=np.array([index + 0.25]),
        device_id=np.array([3], dtype=np.int64),
        cell=np.array([1], dtype=np.int16),
        stream=np.array([0], dtype=np.int16),
        value=np.array([0.5 * index]),
    )


def write_parquet(file: Path) -> None:
    """The frames above, exactly as they are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with ParquetRecorder(file, own_topology(), is_exact=True) as recorder:
        for frame, logs, alarms in own_frames():
            recorder.write(frame, logs, alarms)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)

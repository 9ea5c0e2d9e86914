"""The radio model against recorded bitrates, and the recorded 5G logs' own figures."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import spearmanr
from validation_radio import Figure, figure

from telemetry_sim.radio.link_adaptation import cqi
from telemetry_sim.radio.lte_transport_block import lte_transport_block_bits
from telemetry_sim.traces import open_trace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = (
    "Timestamp",
    "IMSI",
    "dl_mcs",
    "dl_n_samples",
    "sum_granted_prbs",
    "tx_pkts downlink",
    "tx_brate downlink [Mbps]",
    "tx_errors downlink (%)",
    "slicing_enabled",
)
PERIOD_S = 0.25
_NEIGHBOUR_MS = 600.0
# A jump of the mean by more says that the device changed its place, not that its blocks were so mixed.
_MAX_SPREAD = 3.0


@dataclass(frozen=True, slots=True)
class _Rows:
    mcs: NDArray[np.float64]
    mcs_spread: NDArray[np.float64]
    samples: NDArray[np.float64]
    granted: NDArray[np.float64]
    blocks: NDArray[np.float64]
    mbps: NDArray[np.float64]
    has_slicing: NDArray[np.bool_]


def tractor_figures(data: Path) -> list[Figure]:
    """Bits of a report from its mean MCS and granted PRBs by the block size table; nothing is fitted per device.

    Grants and samples are counted when a block is scheduled, blocks and bits when it is acknowledged. So the PRBs of a
    block come from grants and samples (the recordings hold 3.5 samples a block), times the number of blocks. A report's
    MCS is a mean; the spread behind it is taken as its distance from the reports just before and after.
    """
    rows = _error_free_rows(data / "tractor_multi_ue" / "Trial2")
    bits = rows.mbps * 1e6 * PERIOD_S
    samples_per_block = float(np.median(rows.samples / rows.blocks))
    modelled = rows.blocks * _mean_block_bits(
        rows.mcs, rows.mcs_spread, samples_per_block * rows.granted / rows.samples
    )
    fitted = _per_mcs_curve(rows.mcs, rows.granted, bits)
    error, fitted_error = np.abs(modelled / bits - 1.0), np.abs(fitted / bits - 1.0)
    plain = np.abs(rows.blocks * lte_transport_block_bits(rows.mcs, rows.granted / rows.blocks) / bits - 1.0)

    def line(name: str, own: NDArray[np.bool_], target: str) -> Figure:
        median = float(np.median(error[own]))
        return figure(
            f"TRACTOR Trial 2 bitrate from (MCS, granted PRBs), {name}: median relative error",
            median,
            target,
            holds=median <= 0.05 if target.startswith("<=") else None,
            rows=int(np.sum(own)),
            bias=float(np.median((modelled / bits - 1.0)[own])),
            fitted_per_mcs_curve=float(np.median(fitted_error[own])),
            table_at_the_plain_means=float(np.median(plain[own])),
        )

    return [
        line("all rows", np.ones(len(bits), dtype=np.bool_), "<= 5 % median"),
        line("slicing on", rows.has_slicing, "no target of its own"),
        line("slicing off", ~rows.has_slicing, "no target of its own"),
    ]


def irish_figures(data: Path) -> list[Figure]:
    """What the phone's logs say beside the model: no target, since the cell behind them is unknown."""
    parts = []
    for file in sorted((data / "irish_5g" / "Download" / "Static").glob("*.csv")):
        frames = [frame.devices for frame in open_trace(file).frames()]
        parts.append(np.array([[d.sinr_db[0], d.cqi[0], d.served_bits[0] / 1e6] for d in frames]))
    rows = np.vstack(parts)
    sinr_db, reported, mbps = rows[~np.isnan(rows).any(axis=1)].T
    rank = float(spearmanr(sinr_db, reported).statistic)
    return [
        figure(
            "Irish 5G: rank correlation of the phone's SNR and CQI",
            rank,
            "no target",
            holds=None,
            rows=len(sinr_db),
            median_cqi_reported=float(np.median(reported)),
            median_cqi_modelled=float(np.median(cqi(sinr_db))),
            rate_mbps_p10_p50_p90=[round(float(q), 1) for q in np.percentile(mbps, [10, 50, 90])],
        )
    ]


def _error_free_rows(folder: Path) -> _Rows:
    """Distinct rows without an error, of more than 50 granted PRBs and 50 samples; every 002 file repeats one run."""
    found: set[tuple[str, ...]] = set()
    for file in sorted(folder.glob("*/*_metrics.csv")):
        with file.open(newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader)
            positions = [header.index(name) for name in _COLUMNS]
            found.update(tuple(row[i] for i in positions) for row in reader)
    table = np.array([[float(value) for value in row] for row in found])
    time_ms, imsi, mcs, samples, granted, blocks, mbps, errors, slicing = table[
        np.lexsort((table[:, 0], table[:, 1]))
    ].T
    wanted = (errors == 0) & (granted > 50) & (samples > 50) & (blocks > 0) & (mbps > 0)
    spread = _distance_from_neighbours(time_ms, imsi, mcs, samples)
    columns = (mcs, spread, samples, granted, blocks, mbps, slicing == 1)
    return _Rows(*(column[wanted] for column in columns))


def _distance_from_neighbours(
    time_ms: NDArray[np.float64], imsi: NDArray[np.float64], mcs: NDArray[np.float64], samples: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean distance of a report's MCS from those of the reports beside it; 0 for a lone one. Rows in device order."""
    is_next = (np.diff(imsi) == 0) & (np.diff(time_ms) < _NEIGHBOUR_MS) & (samples[1:] > 0) & (samples[:-1] > 0)
    distance = np.where(is_next, np.abs(np.diff(mcs)), 0.0)
    total = np.append(0.0, distance) + np.append(distance, 0.0)
    number = np.append(0, is_next) + np.append(is_next, 0)
    return total / np.maximum(number, 1)


def _mean_block_bits(
    mcs: NDArray[np.float64], spread: NDArray[np.float64], num_prb: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Block size averaged over a normal spread of the MCS, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    width = np.minimum(spread, _MAX_SPREAD)
    parts = [w * lte_transport_block_bits(mcs + width * x, num_prb) for x, w in zip(nodes, weights, strict=True)]
    total: NDArray[np.float64] = np.sum(parts, axis=0) / weights.sum()
    return total


def _per_mcs_curve(
    mcs: NDArray[np.float64], granted: NDArray[np.float64], bits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Median bits a PRB of each rounded MCS, fitted to the same rows, straight lines between."""
    nearest = np.rint(mcs)
    known = np.unique(nearest)
    curve = [np.median((bits / granted)[nearest == value]) for value in known]
    return granted * np.interp(mcs, known, curve)

"""The radio model against recorded bitrates, and the recorded 5G logs' own figures."""

from __future__ import annotations

import csv
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
    "dl_mcs",
    "dl_n_samples",
    "sum_granted_prbs",
    "tx_pkts downlink",
    "tx_brate downlink [Mbps]",
    "tx_errors downlink (%)",
    "slicing_enabled",
)
PERIOD_S = 0.25


def tractor_figures(data: Path) -> list[Figure]:
    """Bits of a report from its mean MCS, its granted PRBs and its number of blocks: the table's, nothing fitted."""
    rows = _error_free_rows(data / "tractor_multi_ue" / "Trial2")
    mcs, _, granted, blocks, mbps, _, slicing = rows.T
    bits = mbps * 1e6 * PERIOD_S
    modelled = blocks * lte_transport_block_bits(mcs, granted / blocks)
    error = np.abs(modelled / bits - 1.0)
    fitted = _per_mcs_curve(mcs, granted, bits)
    fitted_error = float(np.median(np.abs(fitted / bits - 1.0)))
    median = float(np.median(error))
    target = "<= 5 % median"
    return [
        figure(
            "TRACTOR Trial 2 bitrate from (MCS, granted PRBs): median relative error",
            median,
            target,
            holds=median <= 0.05,
            rows=len(rows),
            bias=float(np.median(modelled / bits - 1.0)),
            fitted_per_mcs_curve=fitted_error,
        ),
        *(
            figure(
                f"the same, rows with slicing {name}: median relative error",
                float(np.median(error[slicing == flag])),
                "no target of its own",
                holds=None,
                rows=int(np.sum(slicing == flag)),
                fitted_per_mcs_curve=float(np.median(np.abs(fitted / bits - 1.0)[slicing == flag])),
            )
            for name, flag in (("on", 1), ("off", 0))
        ),
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


def _error_free_rows(folder: Path) -> NDArray[np.float64]:
    """Distinct rows without an error, of more than 50 granted PRBs and 50 samples; every 002 file repeats one run."""
    rows: set[tuple[str, ...]] = set()
    for file in sorted(folder.glob("*/*_metrics.csv")):
        with file.open(newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader)
            positions = [header.index(name) for name in ("Timestamp", "IMSI", *_COLUMNS)]
            rows.update(tuple(row[i] for i in positions) for row in reader)
    table = np.array([[float(value) for value in row[2:]] for row in sorted(rows)])
    _, samples, granted, blocks, mbps, errors, _ = table.T
    return table[(errors == 0) & (granted > 50) & (samples > 50) & (blocks > 0) & (mbps > 0)]


def _per_mcs_curve(
    mcs: NDArray[np.float64], granted: NDArray[np.float64], bits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Median bits a PRB of each rounded MCS, fitted to the same rows, straight lines between."""
    nearest = np.rint(mcs)
    known = np.unique(nearest)
    curve = [np.median((bits / granted)[nearest == value]) for value in known]
    return granted * np.interp(mcs, known, curve)

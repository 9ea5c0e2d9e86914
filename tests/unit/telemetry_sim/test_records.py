"""Records: the delay histogram's edges, and rows that can't be changed afterwards."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from telemetry_sim.records import DELAY_BIN_EDGES_MS, Alarm, LogRecord, Severity, Telemetry


def test_delay_bins_start_at_nothing_and_widen_twenty_to_a_decade() -> None:
    assert DELAY_BIN_EDGES_MS[0] == 0.0
    assert DELAY_BIN_EDGES_MS[-1] == pytest.approx(100_000.0)
    assert DELAY_BIN_EDGES_MS[2:] / DELAY_BIN_EDGES_MS[1:-1] == pytest.approx(np.full(120, 10.0 ** (1 / 20)))


def test_records_do_not_change() -> None:
    record = LogRecord(time_s=1.0, cell=0, source="gnb", text="x")
    alarm = Alarm(time_s=1.0, cell=0, severity=Severity.MAJOR, kind="cell_outage")

    for row, field in ((record, "text"), (alarm, "kind"), (Telemetry(frames=()), "frames")):
        with pytest.raises(FrozenInstanceError):
            setattr(row, field, "other")


def test_severities_are_the_words_of_x733() -> None:
    assert [str(severity) for severity in Severity] == ["critical", "major", "minor", "warning"]

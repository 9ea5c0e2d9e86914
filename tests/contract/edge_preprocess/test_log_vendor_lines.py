"""What the simulated equipment writes is read: header, severity and the counter of each trouble."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edge_preprocess.log_counters import LogCounter
from edge_preprocess.log_tally import LogDigester
from telemetry_sim.event_log import EventLog, log_fault
from telemetry_sim.faults import Fault, FaultKind
from telemetry_sim.records import LogRecord, Severity

COUNTERS = {
    "cell_outage": {LogCounter.CELL_OUTAGE, LogCounter.OVERHEATING},
    "backhaul_congestion": {LogCounter.BACKHAUL_LOSS, LogCounter.PACKET_LOSS, LogCounter.OVERLOAD},
    "interference_burst": {LogCounter.INTERFERENCE},
    "jamming": {LogCounter.INTERFERENCE},
    "flash_crowd": {LogCounter.OVERLOAD},
    "node_crash": {LogCounter.OOM, LogCounter.NODE_RESTART},
    "reboot_storm": {LogCounter.NODE_RESTART},
    "sensor_stuck": {LogCounter.SENSOR_FAULT},
    "sensor_drift": {LogCounter.SENSOR_FAULT},
    "sensor_spikes": {LogCounter.SENSOR_FAULT},
    "clock_skew": {LogCounter.CLOCK_SKEW},
    "compromised_device": {LogCounter.AUTH_FAILURE},
}


def lines_of(kind: FaultKind) -> tuple[LogRecord, ...]:
    """All that one fault of two minutes makes the equipment write."""
    log = EventLog(np.random.default_rng(5))
    fault = Fault(
        kind=kind,
        cell=2,
        slice=1,
        devices=(3, 4),
        first_sign_s=100.0,
        start_s=200.0,
        end_s=320.0,
        severity=Severity.MAJOR,
        strength=0.5,
    )
    for second in range(90, 330):
        log_fault(log, fault, float(second))
    return log.take()


@pytest.mark.parametrize("kind", FaultKind)
def test_each_fault_raises_its_counters(kind: FaultKind) -> None:
    digester = LogDigester()
    for record in lines_of(kind):
        digester.observe(record.text)
    tally = digester.close_interval()
    assert COUNTERS[kind.value] <= set(tally.counters)
    assert tally.num_accepted == tally.num_received > 5
    assert tally.severities


def test_headers_of_all_vendors_are_cut_off() -> None:
    digester = LogDigester()
    sources: Counter[str] = Counter()
    for kind in FaultKind:
        for record in lines_of(kind):
            sources[record.source] += 1
            digester.observe(record.text)
    assert set(sources) == {"gnb", "gateway", "firmware"}
    texts = [template.text for template in digester.miner.templates]
    assert not any("edgegw" in text or text.startswith("dev-") or "[OAM]" in text or "[PHY]" in text for text in texts)
    assert len(texts) < 40

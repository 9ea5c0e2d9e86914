"""What the simulated equipment writes is read: header, severity and the counter of each trouble."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edge_preprocess.log_counters import LogCounter, counters_of
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

NO_OUTAGES = (
    "cell=<*> ue=<*> moved to RRC_INACTIVE",
    "ue=<*> cell=<*> RRC state CONNECTED -> INACTIVE",
    "ue=<*> state=INACTIVE cell=<*>",
    "cell <*>: <*> inactive UEs",
    "cell <*> inactive ues=<*>",
    "cell=<*> DL 256QAM disabled for ue=<*>",
    "cell <*> disabled 256QAM for ue <*>",
    "cell <*> tx power stepped down by <*> dB",
    "cell <*> throughput went down",
    "cell <*> load is down",
    "cell <*> state inactive -> active",
    "cell <*> down alarm cleared",
    "cell reselection disabled",
    "disabled carrier aggregation for ue <*> in cell <*>",
    "cell <*> inactive timer expired",
)
OUTAGES = (
    "cell <*> is down",
    "cell <*>: down",
    "cell <*> down, <*> UEs lost",
    "cell <*> down - no power",
    "cell north-2 has gone down unexpectedly",
    "cell=<*> state=DOWN uptime=<*>",
    "cell=<*> operationalState=disabled",
    "operState=DISABLED cell=<*>",
    "cell <*>: state changed from active to inactive",
    "shutting down cell <*>",
    "sector <*> unavailable",
    "radio unit <*> unavailable due to loss of sync",
    "RRU <*> disabled by operator",
    "carrier <*> disabled",
    "cell out of service, RU disabled by thermal protection",
    "cell out of service, retry <*> failed",
)


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


@pytest.mark.parametrize("text", NO_OUTAGES)
def test_a_cell_is_not_out_of_service_because_something_in_it_is_off_or_idle(text: str) -> None:
    assert LogCounter.CELL_OUTAGE not in counters_of(text)


@pytest.mark.parametrize("text", OUTAGES)
def test_a_cell_that_is_said_to_be_off_is_out_of_service(text: str) -> None:
    assert LogCounter.CELL_OUTAGE in counters_of(text)

"""Named counters and severities, from words of alarm that are the equipment's own."""

from __future__ import annotations

import pytest

from edge_preprocess.log_counters import LogCounter, counters_of
from edge_preprocess.log_severity import graver, severity_of_level, severity_of_words
from edge_preprocess.log_templates import LogTemplateMiner
from telemetry_sim.records import Severity

EVENTS = {
    "handover of ue <*> to cell <*> failed": LogCounter.HANDOVER_FAILURE,
    "HO preparation timeout towards neighbour <*>": LogCounter.HANDOVER_FAILURE,
    "ue=<*> T310 expired": LogCounter.RADIO_LINK_FAILURE,
    "rlc: maxRetx reached on drb <*>": LogCounter.RLC_RETRANSMISSION,
    "RLC AM retransmission <*> of sn <*>": LogCounter.RLC_RETRANSMISSION,
    "random access procedure failed, cause <*>": LogCounter.RANDOM_ACCESS_FAILURE,
    "RRC setup rejected, wait <*> s": LogCounter.ADMISSION_REFUSED,
    "sector <*> out of service": LogCounter.CELL_OUTAGE,
    "external interference detected on <*> PRBs": LogCounter.INTERFERENCE,
    "node overloaded: <*> tasks": LogCounter.OVERLOAD,
    "sctp association to <*> lost": LogCounter.BACKHAUL_LOSS,
    "eth0: link is down": LogCounter.LINK_FLAP,
    "port <*> flapping": LogCounter.LINK_FLAP,
    "<*> packets dropped": LogCounter.PACKET_LOSS,
    "Out of memory: Killed process <*>": LogCounter.OOM,
    "oom-killer invoked": LogCounter.OOM,
    "rebooting after watchdog": LogCounter.NODE_RESTART,
    "kernel panic - not syncing": LogCounter.PROCESS_CRASH,
    "flash write error at <*>": LogCounter.DISK_FAULT,
    "temperature <*> exceeds limit": LogCounter.OVERHEATING,
    "mains power lost": LogCounter.POWER_FAULT,
    "clock drift of <*> ppm": LogCounter.CLOCK_SKEW,
    "GNSS signal lost, holdover": LogCounter.CLOCK_SKEW,
    "authentication failure for <*>": LogCounter.AUTH_FAILURE,
    "Failed password for <*>": LogCounter.AUTH_FAILURE,
    "batteryLow <*> V": LogCounter.BATTERY_LOW,
    "i2c sensor <*>: no response": LogCounter.SENSOR_FAULT,
    "device <*> unreachable": LogCounter.DEVICE_OFFLINE,
    "request timed out": LogCounter.TIMEOUT,
    "policy <*> rejected": LogCounter.CONFIG_REJECTED,
}


@pytest.mark.parametrize(("text", "counter"), EVENTS.items())
def test_an_event_has_its_counter(text: str, counter: LogCounter) -> None:
    assert counter in counters_of(text)


def test_every_counter_has_an_event_that_proves_it() -> None:
    assert set(EVENTS.values()) == set(LogCounter)


@pytest.mark.parametrize(
    "text",
    [
        "handover of ue <*> complete",
        "cell in service again",
        "link <*> up",
        "session closed for user <*>",
        "report sent seq=<*> ok",
        "clock synchronised to <*>",
        "backhaul restored to its own path",
        "battery <*>%",
    ],
)
def test_plain_news_has_no_counter_and_no_severity(text: str) -> None:
    assert counters_of(text) == ()
    assert severity_of_words(text) is None


@pytest.mark.parametrize(
    "text",
    ["closed for user {}", 'device "{}" joined', "topic={} seq=3", "label: {}", "unit={}, value=3", "name '{}' taken"],
)
def test_a_word_that_somebody_chose_for_a_name_raises_no_alarm(text: str) -> None:
    assert counters_of(text.format("overload")) == ()
    assert severity_of_words(text.format("panic")) is None


def test_a_quotation_raises_no_alarm_and_hides_none() -> None:
    assert counters_of('probe "kernel panic, out of memory" reported') == ()
    assert counters_of('probe "5 inch" reported: battery low') == (LogCounter.BATTERY_LOW,)
    assert counters_of('battery low on probe with a 5" screen') == (LogCounter.BATTERY_LOW,)


@pytest.mark.parametrize("mark", ['"', "'", "`"])
@pytest.mark.parametrize(
    "name", ["say {0}reboot{0} twice", "x{0} reboot {0}y", "x{0} msg={0}reboot", "os({0}reboot >> rc{0})", "{0}reboot"]
)
def test_a_name_that_brings_its_own_quotes_raises_no_alarm(mark: str, name: str) -> None:
    for line in ("ue name={0}{1}{0} attached", "session of {0}{1}{0} opened", "{{{0}name{0}:{0}{1}{0}}}"):
        text = line.format(mark, name.format(mark))
        assert counters_of(text) == (), text
        assert severity_of_words(text) is None


def test_a_quotation_that_was_cut_off_runs_to_the_end() -> None:
    assert counters_of('ue name="camera reboot') == ()
    assert counters_of('{"name":"camera reboot') == ()
    line = f'ue name="x" reboot {"lorem " * 500}" attached'
    assert LogTemplateMiner().observe(line).counters == ()


def test_what_the_equipment_said_before_it_quoted_somebody_counts() -> None:
    assert counters_of('msg="battery low" name="x" msg="reboot" port=<*>') == (LogCounter.BATTERY_LOW,)
    assert counters_of('reboot of "<*>" at "<*>"') == (LogCounter.NODE_RESTART,)


def test_json_that_repeats_a_key_is_read_like_free_text() -> None:
    assert counters_of('{"msg":"battery low","port":<*>}') == (LogCounter.BATTERY_LOW,)
    assert counters_of('{"name":"x","msg":"reboot","y":"z","msg":"joined"}') == ()


def test_words_far_from_each_other_are_no_event() -> None:
    assert counters_of("battery of tests was run on every one of the cells, noise is low") == ()


@pytest.mark.parametrize(
    ("level", "severity"),
    [("fatal", Severity.CRITICAL), ("err", Severity.MAJOR), ("w", Severity.WARNING), ("info", None), ("", None)],
)
def test_levels_map_to_severities(level: str, severity: Severity | None) -> None:
    assert severity_of_level(level) is severity


def test_the_graver_of_level_and_words_counts() -> None:
    assert graver(severity_of_level("info"), severity_of_words("disk failed")) is Severity.MINOR
    assert graver(severity_of_level("fatal"), severity_of_words("disk failed")) is Severity.CRITICAL
    assert graver(None, None) is None


def test_a_level_that_leads_the_text_is_its_level() -> None:
    assert severity_of_words("NOTICE node restart complete") is None
    assert severity_of_words("ERR backhaul degraded") is Severity.MAJOR


@pytest.mark.parametrize(
    "text", ['{"level":"warn","msg":"battery low","dev":"m"}', 'level=warn msg="battery low" port=<*>']
)
def test_what_the_equipment_says_in_quotes_counts(text: str) -> None:
    assert counters_of(text) == (LogCounter.BATTERY_LOW,)


def test_routers_say_their_severity_in_a_digit() -> None:
    assert severity_of_words("%LINK-3-UPDOWN: Interface changed state to down") is Severity.MAJOR
    assert severity_of_words("%SYS-5-RESTART: System restarted") is None
    assert counters_of("%LINK-3-UPDOWN: Interface port <*>, changed state to down") == (LogCounter.LINK_FLAP,)

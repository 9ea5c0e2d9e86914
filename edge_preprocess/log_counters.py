"""Named counters: the fixed list of events that matter to a network, found in the words of templates.

The names are the only thing about a log line, besides ids and numbers, that may travel further than the edge.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from edge_preprocess.log_cell_state import STATES, is_out_of_service
from edge_preprocess.log_quotations import own_words
from edge_preprocess.log_words import plain_words


class LogCounter(StrEnum):
    """What is counted per interval."""

    HANDOVER_FAILURE = "handover_failure"
    RADIO_LINK_FAILURE = "radio_link_failure"
    RLC_RETRANSMISSION = "rlc_retransmission"
    RANDOM_ACCESS_FAILURE = "random_access_failure"
    ADMISSION_REFUSED = "admission_refused"
    CELL_OUTAGE = "cell_outage"
    INTERFERENCE = "interference"
    OVERLOAD = "overload"
    BACKHAUL_LOSS = "backhaul_loss"
    LINK_FLAP = "link_flap"
    PACKET_LOSS = "packet_loss"
    OOM = "oom"
    NODE_RESTART = "node_restart"
    PROCESS_CRASH = "process_crash"
    DISK_FAULT = "disk_fault"
    OVERHEATING = "overheating"
    POWER_FAULT = "power_fault"
    CLOCK_SKEW = "clock_skew"
    AUTH_FAILURE = "auth_failure"
    BATTERY_LOW = "battery_low"
    SENSOR_FAULT = "sensor_fault"
    DEVICE_OFFLINE = "device_offline"
    TIMEOUT = "timeout"
    CONFIG_REJECTED = "config_rejected"


_FAILS = r"fail\w*|abort\w*|reject\w*|unsuccessful|timed? ?out|expir\w*|too (?:late|early)|ping ?pong|cancel\w*"
_LOSES = r"lost|loss(?:es)?|down|unreachable|fail\w*|drop(?:s|ped)?|severed|interrupted|degraded|timed? ?out"
_PAIRS: tuple[tuple[LogCounter, str, str], ...] = (
    (LogCounter.HANDOVER_FAILURE, r"hand ?over|ho|reconfiguration ?with ?sync", _FAILS),
    (LogCounter.RLC_RETRANSMISSION, r"rlc|am pdus?", r"re ?tx\w*|re ?trans\w*|max ?retx\w*|nacks?"),
    (LogCounter.RANDOM_ACCESS_FAILURE, r"rach|prach|random access|msg\d|contention resolution|preamble", _FAILS),
    (LogCounter.ADMISSION_REFUSED, r"admission|rrc (?:setup|connection)|attach", r"refus\w*|reject\w*|denied|barred"),
    (
        LogCounter.CELL_OUTAGE,
        r"cell|sector|rru?|radio unit|carrier",
        r"outage|out of service|not transmitting",
    ),
    (
        LogCounter.OVERLOAD,
        r"cpu|load|utili[sz]ation|queue|buffer|backlog",
        r"high|exceed\w*|above|full|over(?:flow|run)",
    ),
    (
        LogCounter.BACKHAUL_LOSS,
        r"back ?haul|front ?haul|transport|gtp ?u?|s1|ng ?[cu]|n[23]|f1 ?[cu]?|sctp|tunnel",
        _LOSES,
    ),
    (LogCounter.LINK_FLAP, r"link|carrier|eth\w*|port", r"flap\w*|up ?/ ?down|carrier lost|lost carrier"),
    (LogCounter.LINK_FLAP, r"link", r"down|error|reset"),
    (LogCounter.PACKET_LOSS, r"packets?|frames?|datagrams?|pdus?", r"lost|loss|drop(?:s|ped|ping)?|discard\w*"),
    (LogCounter.OOM, r"malloc|memory|heap", r"fail\w*|exhausted|cannot allocate|out of memory"),
    (
        LogCounter.DISK_FAULT,
        r"disk|flash|file ?system|i/o|nvme|emmc|sd card",
        r"errors?|full|fail\w*|corrupt\w*|read only",
    ),
    (
        LogCounter.OVERHEATING,
        r"temperature|thermal\w*|temp",
        r"exceed\w*|high|above|throttl\w*|shutdown|trip\w*|critical|protection",
    ),
    (LogCounter.POWER_FAULT, r"power|psu|mains|rectifier|supply", r"fail\w*|loss|lost|faults?|problem|outage"),
    (LogCounter.CLOCK_SKEW, r"clock|rtc", r"skew\w*|drift\w*|offset|unsync\w*|jump\w*|lost|ahead|behind"),
    (LogCounter.CLOCK_SKEW, r"ptp|ntp|gps|gnss|time ?sync\w*", r"lost|loss|unlock\w*|fail\w*|offset|drift\w*|skew\w*"),
    (
        LogCounter.AUTH_FAILURE,
        r"auth\w*|login|password|credentials?",
        r"fail\w*|reject\w*|denied|invalid|wrong|mismatch",
    ),
    (LogCounter.BATTERY_LOW, r"battery|batt|vbatt?", r"low|critical|deplet\w*|empty|under|below"),
    (
        LogCounter.SENSOR_FAULT,
        r"sensor|probe|adc|i2c|accelerometer|thermometer|reading|sample",
        r"fault\w*|fail\w*|errors?|stuck|out of range|nack|no response|invalid|drift\w*|saturat\w*|implausible|frozen",
    ),
    (
        LogCounter.DEVICE_OFFLINE,
        r"device|node|ue|client|peer|end ?device|mote|station|wifi|heartbeat|keep ?alive",
        r"offline|unreachable|not responding|disappeared|detached|disconnected|missed|missing",
    ),
    (
        LogCounter.CONFIG_REJECTED,
        r"config\w*|policy|provisioning|ota",
        r"reject\w*|invalid|fail\w*|rolled ?back|mismatch",
    ),
)
_PHRASES: tuple[tuple[LogCounter, str], ...] = (
    (LogCounter.LINK_FLAP, r"changed state to down"),
    (LogCounter.ADMISSION_REFUSED, r"join (?:request )?(?:failed|denied|rejected)"),
    (LogCounter.RADIO_LINK_FAILURE, r"radio link fail\w*|rlf|t310 expir\w*|out of sync"),
    (LogCounter.RLC_RETRANSMISSION, r"max(?:imum)? (?:number of )?re ?transmissions?|max ?retx\w*"),
    (LogCounter.INTERFERENCE, r"interfer(?:ence|er|ers)|jamm(?:ing|er|ed)|noise (?:floor|rise)"),
    (LogCounter.OVERLOAD, r"overload\w*|congest\w*|throttl\w*|resources? exhaust\w*"),
    (LogCounter.PACKET_LOSS, r"(?:crc|checksum) (?:errors?|fail\w*|mismatch)"),
    (LogCounter.OOM, r"out of memory|oom(?: ?kill\w*)?|out ?of ?memory ?error"),
    (LogCounter.NODE_RESTART, r"restart(?:ed|ing)?|re ?boot\w*|watchdog|(?:cold|warm) ?start|reset (?:reason|cause)"),
    (LogCounter.NODE_RESTART, r"brown ?out|power on reset|booting|boot count"),
    (LogCounter.PROCESS_CRASH, r"segfault|segmentation fault|core dump\w*|panic|crash\w*|hard ?fault|stack overflow"),
    (LogCounter.PROCESS_CRASH, r"exited abnormally|generating core|assert\w* fail\w*"),
    (LogCounter.DISK_FAULT, r"no space left"),
    (LogCounter.OVERHEATING, r"over ?heat\w*|over ?temperature"),
    (LogCounter.POWER_FAULT, r"under ?voltage"),
    (LogCounter.CLOCK_SKEW, r"time (?:went|going) backwards?|time offset|holdover"),
    (
        LogCounter.AUTH_FAILURE,
        r"invalid user|(?:access|permission|join) denied|unauthori[sz]ed|mic (?:fail\w*|mismatch)",
    ),
    (LogCounter.AUTH_FAILURE, r"(?:invalid|bad|wrong) (?:key|token|certificate)|break in attempt"),
    (LogCounter.TIMEOUT, r"timed ?out|time ?out|deadline (?:missed|exceeded)"),
)
# Words that belong together stand near each other: five words between them at most.
_NEAR = r"\b(?: \S+){0,5}? (?:"
_COMPILED_PAIRS = tuple(
    (name, re.compile(rf"\b(?:{subject}){_NEAR}{trouble})\b|\b(?:{trouble}){_NEAR}{subject})\b"))
    for name, subject, trouble in _PAIRS
)
_COMPILED_PHRASES = tuple((name, re.compile(rf"\b(?:{phrase})\b")) for name, phrase in _PHRASES)
_TROUBLES = sorted({trouble for _, _, trouble in _PAIRS} | {phrase for _, phrase in _PHRASES} | {STATES})
_ANY = re.compile("|".join(rf"\b(?:{words})\b" for words in _TROUBLES))
_END_LENGTH = 400


def counters_of(text: str) -> tuple[LogCounter, ...]:
    """The counters that one line of this template adds one to, in the list's order."""
    told = _ends_of(own_words(text))
    plain = plain_words(told)
    if not _ANY.search(plain):
        return ()
    found = {name for name, pattern in (*_COMPILED_PHRASES, *_COMPILED_PAIRS) if pattern.search(plain)}
    if is_out_of_service(told):
        found.add(LogCounter.CELL_OUTAGE)
    return tuple(name for name in LogCounter if name in found)


@lru_cache(maxsize=4096)
def is_telling(word: str) -> bool:
    """True for a word that may name an event, and so must not be taken for a variable."""
    return _ANY.search(plain_words(word)) is not None


def _ends_of(text: str) -> str:
    """Both ends of a long text: the middle is lists, dumps or somebody's idea of a name."""
    return text if len(text) <= 2 * _END_LENGTH else f"{text[:_END_LENGTH]} {text[-_END_LENGTH:]}"

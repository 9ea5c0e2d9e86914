"""Where the content of a line begins, in the formats that networks meet."""

from __future__ import annotations

import pytest

from edge_preprocess.log_headers import split_header

CONTENT = "neighbour relation added after 3 reports"

HEADERS = {
    "syslog": ("Jan  3 04:05:06 edge-7 relay[311]: ", ""),
    "syslog without a process number": ("Jan 13 04:05:06 edge-7 kernel: ", ""),
    "syslog with a priority": ("<34>Jan 13 04:05:06 edge-7 relay[311]: ", ""),
    "syslog with a module": ("Jan 13 04:05:06 edge relay(pam_unix)[311]: ", ""),
    "syslog of RFC 5424 times": ("2026-01-05T00:00:12.345Z edgegw-2 taskd[311]: ", ""),
    "log4j": ("2026-01-05 00:00:12,345 WARN [main-3] org.example.Cell: ", "warn"),
    "log4j with dashes": ("2026-01-05 00:00:12,345 - INFO  [Worker-1:Cell@77] - ", "info"),
    "short years": ("26/01/05 00:00:12 INFO radio.Cell: ", "info"),
    "six digits": ("260105 000012 148 INFO radio.Cell$Part: ", "info"),
    "brackets": ("[Mon Jan 05 00:00:12 2026] [error] ", "error"),
    "logcat": ("01-05 00:00:12.345  1702  2395 D RadioManager: ", "d"),
    "columns": ("2026-01-05 00:00:12, Info                  RAN    ", "info"),
    "pipes": ("20260105-00:00:12:345|Cell_LSC|30002312|", ""),
    "program and dash": ("[01.05 00:00:12] relay.exe - ", ""),
    "file name and request": (
        "ran-api.log.1.2026-01-05_00:00:12 2026-01-05 00:00:12.345 2574 INFO ran.api.server [req-3-4 - - -] ",
        "info",
    ),
    "labels, epoch and two times": ("- 1767571212 2026.01.05 n228 Jan 5 00:00:12 n228/n228 relay(ran)[2915]: ", ""),
    "labels and a subsystem": (
        "- 1767571212 2026.01.05 R02-M1 2026-01-05-00.00.12.345678 R02-M1 RAS RADIO FATAL ",
        "fatal",
    ),
    "fields before an epoch": ("26281 node-3 switch_module link 1767571212 1 ", ""),
    "uptime and layer": ("00012.345 [RRC] W ", "w"),
    "kernel uptime": ("[   12.345678] dev-00042 W adc: ", "w"),
    "core network": ("01/05 12:00:00.123: [amf] INFO: ", "info"),
    "layer and level in brackets": ("2026-01-05T12:00:00.123456 [RRC     ] [W] ", "w"),
    "epoch and colon": ("1767571212: ", ""),
    "uptime of a real-time system": ("[00:00:12.345,000] <wrn> lora: ", "wrn"),
    "level and uptime of a microcontroller": ("W (12345) wifi: ", "w"),
    "letter and date": ("E0105 12:00:00.123456       1 reconciler.go:123] ", "e"),
    "syslog of RFC 5424": ("<34>1 2026-01-05T12:00:00.003Z gw.example.com relay 311 ID47 - ", ""),
    "none": ("", ""),
}


@pytest.mark.parametrize(("header", "level"), HEADERS.values(), ids=list(HEADERS))
def test_the_content_begins_after_the_header(header: str, level: str) -> None:
    found = split_header(header + CONTENT)
    assert (header + CONTENT)[found.content_start :] == CONTENT
    assert found.level == level


@pytest.mark.parametrize(
    "line",
    [
        "connection from 10.0.0.8 at Mon Jan 05 00:00:12 2026",
        "error while reading",
        "12 of 15 cells answered",
        "",
        "x",
    ],
)
def test_a_line_without_a_header_is_content_from_its_first_character(line: str) -> None:
    assert split_header(line) == (0, "")


def test_a_level_is_not_taken_from_the_middle_of_the_content() -> None:
    line = "26281 node-3 switch_module link 1767571212 1 Link error on tree 4"
    assert line[split_header(line).content_start :] == "Link error on tree 4"


@pytest.mark.parametrize(
    ("line", "level"),
    [('{"level":"warn","msg":"x"}', "warn"), ("level=error msg=x", "error"), ("sea level 5", "")],
)
def test_a_level_may_stand_behind_its_key(line: str, level: str) -> None:
    assert split_header(line) == (0, level)

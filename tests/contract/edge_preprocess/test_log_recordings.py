"""Log mining on recorded logs and on recorded injection attacks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from edge_preprocess.log_headers import split_header
from edge_preprocess.log_tally import LogDigester, LogTally
from edge_preprocess.log_templates import LogTemplateMiner

pytestmark = pytest.mark.data
SYSTEMS = ("Apache", "BGL", "HDFS", "HPC", "Hadoop", "Linux", "Mac", "OpenSSH", "Spark", "Zookeeper")
LINES = (
    "2026-01-05T00:00:12.345Z edgegw-2 sshd[311]: INFO session closed for user {}",
    "2026-01-05T00:00:12.345Z edgegw-2 sshd[311]: Failed password for invalid user {} from 10.0.0.1 port 5 ssh2",
    "[   12.345678] {} W battery low, 3.31 V",
    "[   12.345678] dev-00042 I topic={} seq=3 ok",
    "[   12.345678] dev-00042 I reading 3 {}",
    '00012.345 [RRC] I cell=0 ue name="{}" attached',
    "2026-01-05T00:00:12.345Z edgegw-2 portal[3]: session of '{}' opened",
)


def read_lines(data: Path, system: str) -> list[str]:
    return (data / "loghub_2k" / system / f"{system}_2k.log").read_bytes().decode().splitlines()


@pytest.mark.parametrize("system", SYSTEMS)
def test_headers_end_where_the_published_structure_says(recorded_data: Path, system: str) -> None:
    truth = recorded_data / "loghub_2k_corrected" / system / f"{system}_2k.log_structured_corrected.csv"
    with truth.open(encoding="utf-8", newline="") as file:
        contents = [row["Content"] for row in csv.DictReader(file)]
    found = [line[split_header(line).content_start :] for line in read_lines(recorded_data, system)]
    assert [line.split() for line in found] == [content.split() for content in contents]


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_restart_in_the_middle_changes_nothing(recorded_data: Path, system: str) -> None:
    lines = read_lines(recorded_data, system)
    whole, first = LogTemplateMiner(), LogTemplateMiner()
    for line in lines:
        whole.observe(line)
    for line in lines[:1000]:
        first.observe(line)
    second = LogTemplateMiner.from_state(json.loads(json.dumps(first.to_state())))
    for line in lines[1000:]:
        second.observe(line)
    assert {t.template_id: t.count for t in second.templates} == {t.template_id: t.count for t in whole.templates}


def test_counts_are_the_same_whatever_the_names_say(recorded_data: Path) -> None:
    attacks = [
        " ".join(attack.split())
        for name in ("text", "code")
        for group in json.loads((recorded_data / "bipia" / f"{name}_attack_train.json").read_text("utf-8")).values()
        for attack in group
    ]
    assert len(attacks) == 125
    for line in LINES:
        plain = tally_of(line.format("meter"))
        for attack in attacks:
            attacked = tally_of(line.format(attack))
            assert (attacked.counters, attacked.severities) == (plain.counters, plain.severities), (line, attack)


def tally_of(line: str) -> LogTally:
    digester = LogDigester()
    digester.observe(line)
    return digester.close_interval()

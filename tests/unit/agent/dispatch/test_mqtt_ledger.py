"""What the ledger makes of reports."""

from __future__ import annotations

import pytest

from agent.dispatch.mqtt_ledger import Ledger
from telemetry_sim.mqtt_protocol import ReportDocument, ReportState, reported_topic
from tests.gate_stage import TOPOLOGY


def report(cell: int, *, version: int, answers: int) -> tuple[bytes, bytes]:
    document = ReportDocument(cell=cell, version=version, answers=answers, state=ReportState.CONFIRMED)
    return reported_topic(cell).encode(), document.model_dump_json().encode()


@pytest.mark.parametrize(
    ("version", "answers", "newest"), [(7, 14, 7), (6, 15, 7), (2**40, 14, 0), (7, 2**41, 0), (2**30, 2**31, 2**30)]
)
def test_the_newest_version_is_of_what_was_obeyed_or_withdrawn_and_can_be_believed(version, answers, newest):
    ledger = Ledger(TOPOLOGY)
    ledger.take(*report(10, version=version, answers=answers))
    assert ledger.newest_version() == newest


def test_a_report_beyond_belief_hides_no_other():
    ledger = Ledger(TOPOLOGY)
    assert ledger.newest_version() == 0
    ledger.take(*report(10, version=2**62, answers=2**63))
    ledger.take(*report(11, version=3, answers=6))
    assert ledger.newest_version() == 3

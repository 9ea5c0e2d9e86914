"""Digests from a broker, each judged by when it came in."""

from __future__ import annotations

from collections.abc import Iterator

import aiomqtt
import pytest

from api.broker_feed import BrokerFeed
from api.errors import NetworkSilent
from edge_preprocess.compact import pack
from edge_preprocess.digest import EdgeDigest
from edge_preprocess.pipeline import EdgePipeline
from telemetry_sim.mqtt_protocol import digest_topic
from telemetry_sim.mqtt_target import BrokerAddress
from tests.api_stage import TOPOLOGY, SettableClock

NOWHERE = BrokerAddress(host="127.0.0.1", port=1)
INTERVAL_S = 10.0


@pytest.fixture
def feed(clock) -> Iterator[BrokerFeed]:
    made = BrokerFeed(NOWHERE, TOPOLOGY, interval_s=INTERVAL_S, monotonic=clock)
    yield made
    made.close()


def tell(feed: BrokerFeed, cell: int, end_s: float, *, is_compact: bool = False) -> None:
    digest = EdgePipeline(TOPOLOGY).digest((), ())[cell - 1]
    assert digest.cell == cell
    dated = digest.model_copy(update={"start_s": end_s - INTERVAL_S, "end_s": end_s})
    send(feed, cell, pack(dated) if is_compact else dated.model_dump_json().encode())


def send(feed: BrokerFeed, cell: int, payload: bytes) -> None:
    feed._take(aiomqtt.Message(digest_topic(cell), payload, qos=1, retain=False, mid=1, properties=None))


def seen(feed: BrokerFeed) -> list[tuple[int, float]]:
    digests: tuple[EdgeDigest, ...] = feed.digest((), ())
    return [(digest.cell, digest.end_s) for digest in digests]


def test_nothing_is_seen_before_the_first(feed):
    assert seen(feed) == []


def test_an_edge_whose_clock_runs_ahead_leaves_no_other_behind(feed):
    for cell in (1, 2):
        tell(feed, cell, 100.0)
    tell(feed, 3, 9e9)
    assert seen(feed) == [(1, 100.0), (2, 100.0), (3, 9e9)]


def test_an_edge_that_falls_silent_is_left_out(feed, clock: SettableClock):
    tell(feed, 1, 100.0)
    clock.now_s += 2 * INTERVAL_S
    tell(feed, 2, 100.0)
    clock.now_s += 1.5 * INTERVAL_S
    assert seen(feed) == [(2, 100.0)]


def test_where_all_fall_silent_nothing_is_decided_from_what_they_said(feed, clock: SettableClock):
    tell(feed, 1, 100.0)
    clock.now_s += 3.5 * INTERVAL_S
    with pytest.raises(NetworkSilent, match="30 s"):
        seen(feed)
    tell(feed, 1, 110.0)
    assert seen(feed) == [(1, 110.0)]


def test_an_older_digest_that_is_sent_again_changes_nothing(feed, clock: SettableClock):
    tell(feed, 1, 110.0)
    clock.now_s += INTERVAL_S
    tell(feed, 1, 100.0)
    assert seen(feed) == [(1, 110.0)]


def test_the_same_digest_again_makes_it_no_fresher(feed, clock: SettableClock):
    tell(feed, 1, 100.0)
    for _ in range(4):
        clock.now_s += INTERVAL_S
        tell(feed, 1, 100.0)
    with pytest.raises(NetworkSilent):
        seen(feed)


def test_an_edge_whose_clock_went_back_is_believed_once_what_it_said_is_old(feed, clock: SettableClock):
    tell(feed, 1, 9e9)
    clock.now_s += 3.5 * INTERVAL_S
    tell(feed, 1, 100.0)
    assert seen(feed) == [(1, 100.0)]


def test_digests_in_few_bytes_are_read_like_those_in_full(feed):
    tell(feed, 1, 100.0, is_compact=True)
    tell(feed, 2, 100.0)
    assert seen(feed) == [(1, 100.0), (2, 100.0)]
    assert feed.num_quarantined == 0


def test_the_first_message_of_a_topic_that_can_not_be_read_is_logged(feed, caplog):
    unreadable = [b"rubbish", b"[1,[]]", b"[" * 5000, b"\xff", b"{}", b""]
    for payload in unreadable:
        send(feed, 1, payload)
    assert (feed.num_quarantined, len(caplog.records)) == (len(unreadable), 1)
    assert digest_topic(1) in caplog.text
    tell(feed, 2, 100.0)
    stranger = EdgePipeline(TOPOLOGY).digest((), ())[1].model_dump_json().encode()
    send(feed, 3, stranger)
    assert "tells of cell 2" in caplog.text
    assert seen(feed) == [(2, 100.0)]

"""An edge node on a broker, killed and started again."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from unittest.mock import Mock

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge_preprocess.compact import unpack
from edge_preprocess.edge_mqtt import TELEMETRY_TOPIC, BrokerSource, BrokerUrl
from edge_preprocess.edge_node import EdgeNode
from edge_preprocess.errors import SourceUnreadable
from edge_preprocess.file_marks import mark
from edge_preprocess.wire import dump_frame, dump_topology
from telemetry_sim.mqtt_protocol import DIGESTS_FILTER
from tests.service_fixtures import broker

__all__ = ["broker"]


@pytest.fixture
def lines(topology, make_frame):
    rng = np.random.default_rng(6)
    frames = [
        make_frame(5.0 * n, (1, 2), (0, 1), (0, 1), period_s=5.0, served_bits=rng.uniform(1e5, 1e6, 2))
        for n in range(1, 13)
    ]
    return [dump_topology(topology).encode(), *(dump_frame(frame).encode() for frame in frames)]


def test_a_broker_url_is_read_or_refused():
    url = BrokerUrl.parse("mqtt://anna:geheim@box:2000/site-4")
    assert (url.host, url.port, url.username, url.password, url.client_id) == ("box", 2000, "anna", "geheim", "site-4")
    url = BrokerUrl.parse("mqtt://an%3Ana:p%40ss@box")
    assert (url.username, url.password) == ("an:na", "p@ss")
    url = BrokerUrl.parse("mqtt://box")
    assert (url.username, url.password) == (None, None)
    for text in ("http://box", "mqtt://", "mqtt://box:notaport"):
        with pytest.raises(SourceUnreadable, match="broker"):
            BrokerUrl.parse(text)


def test_a_brokers_password_is_not_shown():
    assert "geheim" not in repr(BrokerUrl.parse("mqtt://anna:geheim@box"))
    for text in ("mqtt://anna:geheim@box:notaport", "http://anna:geheim@box", "mqtt://anna:geheim@"):
        with pytest.raises(SourceUnreadable, match=r"//anna:\*\*\*@") as told:
            BrokerUrl.parse(text)
        assert "geheim" not in str(told.value)


class _Peer:
    """The network's side: sends lines, hears digests."""

    def __init__(self, port):
        self.heard = {}
        """Digests by cell and end of interval, in order; one that was under way at a kill comes twice."""
        self._new = threading.Condition()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(DIGESTS_FILTER, qos=1)
        self.client.loop_start()

    def _on_message(self, client, userdata, message):
        with self._new:
            digest = unpack(message.payload)
            self.heard.setdefault((digest.cell, digest.end_s), digest)
            self._new.notify_all()

    def send(self, lines):
        for line in lines:
            self.client.publish(TELEMETRY_TOPIC, line, qos=1).wait_for_publish(10)

    def wait_for(self, count):
        with self._new:
            assert self._new.wait_for(lambda: len(self.heard) >= count, timeout=30)


@pytest.fixture
def start():
    """Starts commands; those that still run at the end are killed."""
    with contextlib.ExitStack() as stack:

        def started(command):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            return process

        yield started


def test_the_newest_lines_are_known_again_after_a_restart(tmp_path, lines):
    node = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    for line in lines[:6]:
        node.accept(line)
    known = node.recent
    assert known == tuple(mark(line) for line in lines[:6])
    node.stop()
    again = EdgeNode(tmp_path / "state", tmp_path / "out.jsonl")
    again.stop()
    assert again.recent == known


def test_what_a_broker_sends_again_is_taken_once(lines):
    source = BrokerSource(BrokerUrl.parse("mqtt://127.0.0.1"))
    taken = []
    source._accept = taken.append
    source._recent = lambda: [mark(line) for line in lines[:4]]
    client = Mock()
    source._on_connect(client, None, Mock(), Mock(is_failure=False), None)

    def send(line, *, is_dup):
        source._on_message(client, None, Mock(payload=line, dup=is_dup, mid=1, qos=1))

    for line in lines[2:6]:
        send(line, is_dup=True)
    assert taken == lines[4:6]
    # The same words once more are another message, and so is one that only looks like an older one.
    send(lines[5], is_dup=False)
    send(lines[2], is_dup=True)
    assert taken == [*lines[4:6], lines[5], lines[2]]
    assert client.ack.call_count == 6


@pytest.fixture
def refusing():
    """A source whose client takes a digest and asks for telemetry without a network."""
    source = BrokerSource(BrokerUrl.parse("mqtt://box"))
    source._num_unacknowledged = 1
    return source


def _said_by(source):
    assert source._ended.is_set()
    return str(source._failure)


def test_a_digest_that_the_broker_refuses_has_not_arrived(refusing):
    refusing._client.on_publish(None, None, 1, ReasonCode(PacketTypes.PUBACK, "Not authorized"), None)
    assert not refusing.is_empty
    assert "refused a digest, Not authorized" in _said_by(refusing)


def test_a_digest_that_nobody_listens_to_has_arrived(refusing):
    refusing._client.on_publish(None, None, 1, ReasonCode(PacketTypes.PUBACK, "No matching subscribers"), None)
    assert refusing.is_empty
    assert not refusing._ended.is_set()


def test_a_refused_subscription_ends_the_source(refusing):
    granted, denied = (ReasonCode(PacketTypes.SUBACK, name) for name in ("Granted QoS 1", "Not authorized"))
    refusing._client.on_subscribe(None, None, 1, [granted], None)
    assert not refusing._ended.is_set()
    refusing._client.on_subscribe(None, None, 1, [denied], None)
    assert f"refused to send '{TELEMETRY_TOPIC}', Not authorized" in _said_by(refusing)


@pytest.mark.broker
def test_a_node_killed_on_a_broker_loses_and_repeats_no_interval(tmp_path, lines, broker, start):
    whole = EdgeNode(tmp_path / "whole", tmp_path / "whole.jsonl")
    for line in lines:
        whole.accept(line)
    whole.stop()
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", "from edge_preprocess.commands import edge; edge()"]
    command += [f"mqtt://127.0.0.1:{broker.port}/node", "--state", str(tmp_path / "state"), "--out", str(out)]
    peer = _Peer(broker.port)
    first = start(command)
    # The session exists once a topology, which may come any number of times, has arrived.
    journal = tmp_path / "state" / "edge.journal"
    while not (journal.exists() and lines[0] in journal.read_bytes()):
        assert first.poll() is None
        peer.send(lines[:1])
    peer.send(lines[1:6])
    peer.wait_for(2)
    first.kill()
    first.wait()
    peer.send(lines[6:])
    second = start(command)
    peer.wait_for(10)
    second.terminate()
    assert second.wait(20) == 0
    peer.client.loop_stop()
    peer.client.disconnect()
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert list(peer.heard) == [(cell, end_s) for end_s in (10.0, 20.0, 30.0, 40.0, 50.0) for cell in (7, 9)]

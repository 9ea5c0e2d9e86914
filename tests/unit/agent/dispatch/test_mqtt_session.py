"""The dispatcher's own connection to a broker, without a broker."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dispatch import mqtt_packets as packets
from agent.dispatch.mqtt_packets import Publication, Splitter, read_publication
from agent.dispatch.mqtt_session import MqttSession
from agent.errors import BrokerLost

CONNACK_WITH_ROOM_FOR_TWO = bytes([0x20, 6, 0, 0, 3, 0x21, 0, 2])


class Wire(asyncio.Transport):
    """Keeps what is written, packet by packet."""

    def __init__(self) -> None:
        super().__init__()
        self._splitter = Splitter()
        self.packets: list[tuple[int, bytes]] = []
        self.is_aborted = False

    def write(self, data) -> None:
        self.packets += self._splitter.feed(data)

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    close = abort

    def sent(self, kind: int) -> list[bytes]:
        return [body for first, body in self.packets if first >> 4 == kind]


@pytest.fixture
async def link():
    heard: list[tuple[bytes, bytes]] = []
    session = MqttSession(lambda topic, payload: heard.append((topic, payload)))
    wire = Wire()
    session.connection_made(wire)
    session.data_received(CONNACK_WITH_ROOM_FOR_TWO)
    return session, wire, heard


def publications(num: int) -> list[Publication]:
    return [Publication(topic=f"t/{n}".encode(), payload=b"{}", correlation=b"1") for n in range(num)]


def packet_ids(wire: Wire) -> list[int]:
    return [read_publication(0x03, body)[2] for body in wire.sent(packets.PUBLISH)]


async def test_no_more_is_in_flight_than_the_broker_takes(link):
    session, wire, _ = link
    sending = asyncio.create_task(session.publish(publications(5)))
    await asyncio.sleep(0)
    assert len(packet_ids(wire)) == 2
    for num_acknowledged in range(1, 6):
        session.data_received(packets.puback(packet_ids(wire)[num_acknowledged - 1]))
        assert len(packet_ids(wire)) == min(5, num_acknowledged + 2)
    await sending
    assert len(packet_ids(wire)) == 5


async def test_publishing_waits_for_every_acknowledgement(link):
    session, wire, _ = link
    sending = asyncio.create_task(session.publish(publications(2)))
    await asyncio.sleep(0)
    first, second = packet_ids(wire)
    session.data_received(packets.puback(first))
    await asyncio.sleep(0)
    assert not sending.done()
    session.data_received(packets.puback(second))
    await sending


async def test_what_comes_in_is_handed_on_and_acknowledged(link):
    session, wire, heard = link
    session.data_received(Publication(topic=b"a/b", payload=b"hello", response_topic=b"r").packet(7))
    assert heard == [(b"a/b", b"hello")]
    assert wire.sent(packets.PUBACK) == [b"\x00\x07"]


@pytest.mark.parametrize("end", ["lost", "nonsense", "hung up", "too long"])
async def test_an_ended_connection_tells_everyone_who_waits(link, end):
    session, wire, _ = link
    sending = asyncio.create_task(session.publish(publications(3)))
    await asyncio.sleep(0)
    if end == "lost":
        session.connection_lost(None)
    else:
        said = {"nonsense": b"\x30\x01\x00", "hung up": b"\xe0\x01\x8b", "too long": b"\x30" + b"\xff" * 4}
        session.data_received(said[end])
    with pytest.raises(BrokerLost):
        await sending
    with pytest.raises(BrokerLost):
        await session.publish(publications(1))
    assert wire.is_aborted


async def test_a_silent_broker_is_given_up(link):
    session, wire, _ = link
    with pytest.raises(BrokerLost, match="no word"):
        await session.keep_alive(0.01)
    assert wire.sent(12)


async def test_a_broker_that_refuses_is_named_as_the_reason():
    session = MqttSession(lambda *_: None)
    session.connection_made(Wire())
    entering = asyncio.create_task(session.handshake(b""))
    await asyncio.sleep(0)
    session.data_received(bytes([0x20, 3, 0, 0x86, 0]))
    with pytest.raises(BrokerLost, match="0x86"):
        await entering


async def test_a_refused_subscription_is_an_error(link):
    session, _, _ = link
    subscribing = asyncio.create_task(session.subscribe("a/+"))
    await asyncio.sleep(0)
    session.data_received(bytes([0x90, 4, 0, 1, 0, 0x87]))
    with pytest.raises(BrokerLost, match="refused"):
        await subscribing


@pytest.mark.parametrize(("codes", "told"), [((0x87, 1), "a/.*0x87"), ((1, 0x97), "b/.*quota exceeded")])
async def test_every_subscription_is_looked_at(link, codes, told):
    session, _, _ = link
    subscribing = asyncio.create_task(session.subscribe("a/+", "b/+"))
    await asyncio.sleep(0)
    session.data_received(bytes([0x90, 5, 0, 1, 0, *codes]))
    with pytest.raises(BrokerLost, match=told):
        await subscribing


async def test_granted_subscriptions_are_no_error(link):
    session, _, _ = link
    subscribing = asyncio.create_task(session.subscribe("a/+", "b/+"))
    await asyncio.sleep(0)
    # With a property: a reason string.
    session.data_received(bytes([0x90, 9, 0, 1, 4, 0x1F, 0, 1, 0x61, 0, 1]))
    await subscribing


@pytest.mark.parametrize("body", [b"\x00\x01", b"\x00\x01\x00", b"\x00\x01\x09\x00"])
async def test_a_cut_answer_to_a_subscription_ends_the_connection(link, body):
    session, wire, _ = link
    subscribing = asyncio.create_task(session.subscribe("a/+"))
    await asyncio.sleep(0)
    session.data_received(bytes([0x90, len(body), *body]))
    with pytest.raises(BrokerLost, match="no MQTT"):
        await subscribing
    assert wire.is_aborted


async def test_refused_publications_are_told_by_topic(link):
    session, wire, _ = link
    sending = asyncio.create_task(session.publish(publications(4)))
    for number, code in enumerate((0x00, 0x87, 0x10, 0x97)):
        await asyncio.sleep(0)
        session.data_received(b"\x40\x03" + packet_ids(wire)[number].to_bytes(2) + bytes([code]))
    refused = await sending
    assert list(refused) == [b"t/1", b"t/3"]
    assert "not authorized (0x87)" in refused[b"t/1"]
    assert "quota exceeded (0x97)" in refused[b"t/3"]


@given(
    texts=st.lists(st.tuples(st.binary(min_size=1, max_size=50), st.binary(max_size=300), st.binary(max_size=9))),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_packets_are_found_wherever_the_network_cuts_them(texts, cuts):
    wanted = [Publication(topic=t, payload=p, correlation=c, response_topic=c) for t, p, c in texts]
    stream = b"".join(each.packet(number + 1) for number, each in enumerate(wanted))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    splitter, found = Splitter(), []
    for start, end in itertools.pairwise(edges):
        found += splitter.feed(stream[start:end])
    assert [read_publication(first & 15, body) for first, body in found] == [
        (each.topic, each.payload, number + 1) for number, each in enumerate(wanted)
    ]


@given(st.binary(max_size=200))
def test_rubbish_ends_the_connection_and_nothing_else(noise):
    async def hear() -> None:
        session = MqttSession(lambda *_: None)
        session.connection_made(Wire())
        session.data_received(noise)

    asyncio.run(hear())

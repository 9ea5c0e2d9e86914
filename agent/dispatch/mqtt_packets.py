"""MQTT 5 packets, as far as a dispatcher needs them: as bytes, many to a write. Source: OASIS MQTT 5.0."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PACKET_BYTES = 1_000_000
"""A broker that keeps to the standard sends nothing longer; it would cost memory before it could be refused."""
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECTED = 2, 3, 4, 9, 13, 14
"""Kinds of packets that a broker sends here."""
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
_RETAIN, _QOS_1 = 0x01, 0x02
_RECEIVE_MAXIMUM, _MAXIMUM_PACKET_SIZE = 0x21, 0x27
_RESPONSE_TOPIC, _CORRELATION_DATA = 0x08, 0x09
_NUMBER_SIZES = {0x01: 1, 0x17: 1, 0x19: 1, 0x24: 1, 0x25: 1, 0x28: 1, 0x29: 1, 0x2A: 1, 0x13: 2, 0x21: 2, 0x22: 2}
_NUMBER_SIZES |= {0x02: 4, 0x11: 4, 0x18: 4, 0x27: 4}
_TEXTS = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})
_REASONS = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x95: "packet too large",
    0x97: "quota exceeded",
    0x99: "payload format invalid",
    0x9A: "retain not supported",
    0xA2: "wildcard subscriptions not supported",
}
_U16, _U32 = struct.Struct(">H"), struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A message to publish, retained and at least once; all parts are ready to be sent."""

    topic: bytes
    payload: bytes
    response_topic: bytes = b""
    correlation: bytes = b""

    def packet(self, packet_id: int) -> bytes:
        properties = b""
        if self.response_topic:
            properties = b"\x08" + _sized(self.response_topic)
        if self.correlation:
            properties += b"\x09" + _sized(self.correlation)
        body = (_sized(self.topic), _U16.pack(packet_id), _varint(len(properties)), properties, self.payload)
        return _packet(PUBLISH << 4 | _QOS_1 | _RETAIN, b"".join(body))


def connect(client_id: str, *, keepalive_s: int, username: str | None, password: str | None) -> bytes:
    """A clean start, without a will: nobody waits for a dispatcher."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    properties = bytes([_MAXIMUM_PACKET_SIZE]) + _U32.pack(MAX_PACKET_BYTES)
    body = _sized(b"MQTT") + bytes([5, flags]) + _U16.pack(keepalive_s) + _varint(len(properties)) + properties
    body += _sized(client_id.encode())
    for text in (username, password):
        if text is not None:
            body += _sized(text.encode())
    return _packet(1 << 4, body)


def subscribe(packet_id: int, filters: tuple[str, ...]) -> bytes:
    """To topics, at least once."""
    topics = b"".join(_sized(topic.encode()) + b"\x01" for topic in filters)
    return _packet(8 << 4 | 0x02, _U16.pack(packet_id) + b"\x00" + topics)


def puback(packet_id: int) -> bytes:
    return b"\x40\x02" + _U16.pack(packet_id)


def read_publication(flags: int, body: bytes) -> tuple[bytes, bytes, int]:
    """Topic, payload and packet id (0 where none is to be acknowledged); raises ValueError."""
    end = 2 + _u16(body, 0)
    topic = body[2:end]
    packet_id = 0
    if flags & 0x06:
        packet_id = _u16(body, end)
        end += 2
    length, start = _read_varint(body, end)
    if start + length > len(body) or len(topic) + 2 > len(body):
        raise ValueError("a publication is cut short")
    return topic, body[start + length :], packet_id


def read_subscription(body: bytes) -> tuple[int, ...]:
    """Reason codes, one for each topic that was asked for; below 128 is success. Raises ValueError."""
    try:
        length, start = _read_varint(body, 2)
    except IndexError as error:
        raise ValueError("a SUBACK is cut short") from error
    if start + length >= len(body):
        raise ValueError("a SUBACK is cut short")
    return tuple(body[start + length :])


def told_reason(reason: int) -> str:
    """As in `not authorized (0x87)`."""
    return f"{_REASONS.get(reason, 'a reason unknown here')} ({reason:#04x})"


def read_acknowledgement(body: bytes) -> tuple[int, int]:
    """Packet id and reason code; below 128 is success."""
    return _u16(body, 0), body[2] if len(body) > 2 else 0


def read_connack(body: bytes) -> tuple[int, int]:
    """Reason code, and how many publications the broker takes at once; raises ValueError."""
    if len(body) < 2:
        raise ValueError("a CONNACK is cut short")
    receive_maximum = 65_535
    for name, value in _properties(body, 2):
        if name == _RECEIVE_MAXIMUM:
            receive_maximum = max(1, int.from_bytes(value))
    return body[1], receive_maximum


class Splitter:
    """Cuts what comes in into packets, wherever the network cut it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The first byte and the body of every packet that is whole; raises ValueError for what is no MQTT."""
        data = self._rest + data if self._rest else data
        at = 0
        while len(data) - at >= 2:
            try:
                length, start = _read_varint(data, at + 1)
            except IndexError:
                break
            if length > MAX_PACKET_BYTES:
                raise ValueError(f"a packet of {length} bytes, at most {MAX_PACKET_BYTES} are allowed")
            if start + length > len(data):
                break
            first, at = data[at], start + length
            yield first, data[start:at]
        self._rest = data[at:]


def _properties(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    length, at = _read_varint(body, at)
    end = at + length
    if end > len(body):
        raise ValueError("properties are cut short")
    while at < end:
        name, at = body[at], at + 1
        if name in _NUMBER_SIZES:
            size = _NUMBER_SIZES[name]
        elif name in _TEXTS:
            size, at = _u16(body, at), at + 2
        elif name == 0x26:
            size = 4 + _u16(body, at) + _u16(body, at + 2 + _u16(body, at))
        else:
            raise ValueError(f"property {name:#x} is unknown")
        yield name, body[at : at + size]
        at += size


def _u16(body: bytes, at: int) -> int:
    if at + 2 > len(body):
        raise ValueError("a packet is cut short")
    return body[at] << 8 | body[at + 1]


def _packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + _varint(len(body)) + body


def _sized(text: bytes) -> bytes:
    return _U16.pack(len(text)) + text


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    digits = bytearray()
    while number:
        number, digit = divmod(number, 128)
        digits.append(digit | (0x80 if number else 0))
    return bytes(digits)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number and where it ends; raises IndexError where it is not all there, ValueError where it is none."""
    number = shift = 0
    while True:
        digit = data[at]
        at += 1
        number |= (digit & 0x7F) << shift
        if digit < 128:
            return number, at
        shift += 7
        if shift > 21:
            raise ValueError("a length of more than four bytes")

"""IP addresses are found as operators write them, and nothing else is."""

from __future__ import annotations

import pytest

from agent.chat.addresses import find_addresses


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("ping 10.0.0.1, then 10.0.0.2.", ["10.0.0.1", "10.0.0.2"]),
        ("gNB at 192.0.2.7:38412 left", ["192.0.2.7"]),
        ("peer [2001:db8::7]:8080 is up", ["2001:db8::7"]),
        ("from fe80::1%eth0: lost", ["fe80::1"]),
        ("mapped ::ffff:192.0.2.1", ["::ffff:192.0.2.1"]),
        ("peer:10.0.0.1 and src:192.0.2.7:38412", ["10.0.0.1", "192.0.2.7"]),
        ("10.0.0.1:80: refused, ...10.0.0.2", ["10.0.0.1", "10.0.0.2"]),
        ("SCTP 10.0.0.1.38412", ["10.0.0.1"]),
        ("from:fe80::1 to 2001:db8:0:0:0:0:0:1.", ["fe80::1", "2001:db8:0:0:0:0:0:1"]),
        ("left fe80:: at once", ["fe80::"]),
        ("at 12:30:45 load 1.5 and 3.2.1", []),
        ("aa:bb:cc:0d:ee:ff", []),
        ("999.1.1.1 is none, nor is 1:2:3", []),
        ("a::b is short for many; :: alone is none", ["a::b"]),
    ],
)
def test_addresses_are_found_where_they_stand(text: str, addresses: list[str]) -> None:
    found = find_addresses(text)
    assert [match["value"] for match in found] == addresses
    assert all(text[match["start"] : match["end"]] == match["value"] for match in found)

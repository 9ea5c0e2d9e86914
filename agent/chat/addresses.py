"""Network addresses in running text, IPv4 and IPv6 alike, for hiding them from a model."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain.agents.middleware import PIIMatch

_IPV4 = re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b")
_IPV6 = re.compile(r"(?:[0-9A-Fa-f]{0,4}:){2,8}(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9A-Fa-f]{0,4})")


def find_addresses(text: str) -> list[PIIMatch]:
    """Each IP address with its place; a port, a zone or what ends a sentence is no part of it."""
    spans = list(_found(_IPV6, text))
    taken = [*spans]
    spans += [
        span for span in _found(_IPV4, text) if not any(span[0] < end and start < span[1] for start, end in taken)
    ]
    return [{"type": "ip", "value": text[start:end], "start": start, "end": end} for start, end in sorted(spans)]


def _found(kind: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in kind.finditer(text):
        start, candidate = match.start(), match.group()
        if candidate.startswith(":") and not candidate.startswith("::"):
            start, candidate = start + 1, candidate[1:]
        while candidate and not _is_address(candidate):
            candidate = candidate.rpartition(":")[0]
        if candidate:
            yield start, start + len(candidate)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::"

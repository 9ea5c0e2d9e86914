"""The URL that names a store: checked before anything is opened, and told without its password."""

from __future__ import annotations

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from agent.errors import StoreUnusable

_ALLOWED = "sqlite:///path/to/file.db or postgresql+psycopg://user@host[:port]/database"
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_BETWEEN_USER_AND_HOST = re.compile(r":(?!//).*@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&][^=&]*pass[^=&]*=)[^&]*", re.IGNORECASE)
_MOST_SHOWN = 200


def parse_address(text: str) -> URL:
    """With the driver that is used; raises StoreUnusable."""
    shown = told_address(text)
    if text.partition("?")[0].count("@") > 1:
        raise StoreUnusable(f"store {shown}: expected %40 for an @ in the user or password, and %2F for a /")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not chained: the library's message may quote what stands where the password is expected.
        raise StoreUnusable(f"store {shown}: expected {_ALLOWED}, with a port of 1 to 65535") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None or "\0" in text:
        raise StoreUnusable(f"store {shown}: expected {_ALLOWED}")
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise StoreUnusable(f"store {shown}: port {url.port}, 1 to 65535 is allowed")
    return url.set(drivername=driver)


def told_address(text: str) -> str:
    """Fit for a message: whatever may be a password is hidden, however the rest is written."""
    hidden = _IN_QUERY.sub(r"\1***", _BETWEEN_USER_AND_HOST.sub(":***@", text))
    shown = hidden if len(hidden) <= _MOST_SHOWN else f"{hidden[:_MOST_SHOWN]}..."
    return shown if shown.isprintable() and shown else repr(shown)

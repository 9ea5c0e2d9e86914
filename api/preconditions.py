"""Preconditions of a change. Source: RFC 9110, 13.1.1."""

from __future__ import annotations


def matches(if_match: str, etag: str | None) -> bool:
    """Whether what is there has one of the tags; `*` stands for anything that is there, None for nothing."""
    if etag is None:
        return False
    return if_match.strip() == "*" or etag in [tag.strip() for tag in if_match.split(",")]

"""Real services for the contract suites, and a store on each database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.store.store import Store
from tests.api_stage import clock
from tests.service_fixtures import broker, postgres_server, postgres_url

__all__ = ["broker", "clock", "postgres_server", "postgres_url"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store(url, clock) -> Iterator[Store]:
    with Store.open(url, clock) as opened:
        yield opened

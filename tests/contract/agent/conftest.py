"""Real services for the contract suites."""

from tests.service_fixtures import broker, postgres_server, postgres_url

__all__ = ["broker", "postgres_server", "postgres_url"]

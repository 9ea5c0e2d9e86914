"""A store that can't be opened is told in a line: what, the value, what was expected, and never a password."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agent.errors import StoreUnusable
from agent.store import engine
from agent.store.address import parse_address, told_address
from agent.store.engine import open_engine

MIGRATIONS = Path(engine.__file__).parent / "migrations" / "versions"


def told(url: str) -> str:
    with pytest.raises(StoreUnusable) as found:
        open_engine(url)
    message = str(found.value)
    assert "s3cret" not in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "1.5", "99999999999999999999"])
def test_a_port_that_none_can_have_is_told_with_what_is_allowed(port):
    message = told(f"postgresql://u:s3cret@localhost:{port}/db")
    assert f"localhost:{port}/db" in message
    assert "1 to 65535" in message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresql//u:s3cret@h/db",
        "postgresql://u:s3cret@[::1/db",
        "mysql://u:s3cret@h/db",
        "nosuch://u:s3cret@h/db",
        "postgresql+asyncpg://u:s3cret@h/db",
        "sqlite+aiosqlite:///x.db",
        "sqlite:///a\0b.db",
        "u:s3cret@h",
    ],
)
def test_another_kind_of_address_is_told_with_the_kinds_allowed(url):
    assert "expected sqlite:///path/to/file.db or postgresql+psycopg://user@host[:port]/database" in told(url)


@pytest.mark.parametrize("url", ["postgresql://u:s3cr@t/x@h:1/db", "postgresql://u:@:s3cret@h/db"])
def test_a_password_that_is_not_escaped_is_no_part_of_the_message(url):
    message = told(url)
    assert "%40" in message
    assert "t/x" not in message


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://u:s3cret@127.0.0.1:1/db", "127.0.0.1:1 that lets u in"),
        ("postgresql://127.0.0.1:1/db?user=u&password=s3cret", "127.0.0.1:1 that lets"),
        ("postgresql://u:s3cret@127.0.0.1:1/db?sslmode=nosuch", "127.0.0.1:1 that lets u in"),
    ],
)
def test_a_server_that_is_not_there_is_told_with_where_it_was_expected(url, where):
    assert f"expected a PostgreSQL server at {where}" in told(url)


def test_a_host_name_that_none_can_have_is_told_in_a_line():
    assert "label too long" in told(f"postgresql://u:s3cret@{'h' * 300}/db")


@pytest.mark.postgres
def test_a_refused_password_is_not_shown(postgres_url):
    url = postgres_url.replace("edgewright@", "nobody:s3cret@")
    assert "that lets nobody in" in told(url)


def test_a_schema_of_another_version_is_told_with_the_newest_known(tmp_path):
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num VARCHAR(32)); INSERT INTO alembic_version VALUES ('9999')"
        )
    connection.close()
    message = told(f"sqlite:///{path}")
    assert "schema '9999'" in message
    newest = max(path.name for path in MIGRATIONS.glob("v*.py")).removeprefix("v")[:4]
    assert f"up to '{newest}'" in message


def test_a_file_that_is_no_database_is_told_in_a_line(tmp_path):
    (tmp_path / "notes.txt").write_text("no database" * 100)
    assert "file is not a database" in told(f"sqlite:///{tmp_path}/notes.txt")


def test_an_address_that_can_be_used_gets_its_driver():
    assert parse_address("postgresql://u@h:5432/db").drivername == "postgresql+psycopg"
    assert parse_address("sqlite:///x.db").database == "x.db"


def test_an_address_without_secrets_is_told_as_it_is():
    assert told_address("postgresql://h:5432/db?application_name=x") == "postgresql://h:5432/db?application_name=x"

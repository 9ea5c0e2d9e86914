"""A database, opened and migrated; SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from agent.errors import StoreUnusable
from agent.store.address import parse_address, told_address
from agent.store.tables import AUDIT_HEAD, METADATA

SCHEMA_REVISION = "0003"
"""The newest migration."""
_CREATION_LOCK = 0x65646765
"""Any number that no other program takes."""
_BUSY_S, _PAUSE_S = 10.0, 0.02
_POSTGRES_PORT, _SHORTEST_SECRET = 5432, 3
_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str) -> Engine:
    """An engine on a database whose schema is current; raises StoreUnusable."""
    engine: Engine | None = None
    parsed = parse_address(url)
    try:
        if parsed.drivername == "sqlite" and parsed.database not in (None, "", ":memory:"):
            Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, **_options(parsed))
        if parsed.drivername == "sqlite":
            _tune_sqlite(engine)
        _migrate(engine)
    except (SQLAlchemyError, OSError, ImportError, ValueError) as error:
        if engine is not None:
            engine.dispose()
        raise StoreUnusable(f"store {told_address(url)}: {_told(error, parsed)}") from error
    return engine


def _told(error: Exception, url: URL) -> str:
    """In a line, without the password, and with what was expected where a server did not let us in."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = next(iter(str(cause).splitlines()), type(cause).__name__)
    secrets = (url.password, *(value for name, value in url.query.items() if "pass" in name.lower()))
    for secret in secrets:
        # Shorter ones can't be told from the words around them.
        if isinstance(secret, str) and len(secret) >= _SHORTEST_SECRET:
            reason = reason.replace(secret, "***")
    if isinstance(error, OperationalError) and url.drivername != "sqlite":
        where = f"{url.host or 'localhost'}:{url.port or _POSTGRES_PORT}"
        reason += f"; expected a PostgreSQL server at {where} that lets {url.username or 'this user'} in"
    return reason


def _options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        # A host that drops packets would otherwise hold the start up for minutes.
        patience = {} if "connect_timeout" in url.query else {"connect_timeout": round(_BUSY_S)}
        return {"pool_pre_ping": True, "pool_size": 4, "connect_args": patience}
    if url.database in (None, "", ":memory:"):
        from sqlalchemy.pool import QueuePool

        # The connection is the database, so threads take turns with it, and it is closed once nobody holds it:
        # SQLite crashes the process where one thread closes the connection that another one reads from.
        one_at_a_time = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": _BUSY_S}
        return {**one_at_a_time, "connect_args": {"check_same_thread": False}}
    return {"connect_args": {"check_same_thread": False, "timeout": _BUSY_S}}


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: Any) -> None:
        del record
        # The driver's own implicit BEGIN is deferred and would let two writers read the same audit head.
        connection.isolation_level = None
        for pragma in (f"busy_timeout={1000 * _BUSY_S:.0f}", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        _write_ahead(connection)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        mode = "IMMEDIATE" if connection.get_execution_options().get("writes") else "DEFERRED"
        connection.exec_driver_sql(f"BEGIN {mode}")


def _write_ahead(connection: Any) -> None:
    """Switch to WAL; of several processes that do so at once SQLite refuses all but one without waiting."""
    give_up_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date; alembic is imported only where there is something to carry over."""
    revision = _current_revision(engine)
    if revision is None:
        # Where it can't be created, another process may just have done so.
        revision = SCHEMA_REVISION if _create(engine) else _current_revision(engine)
    if revision == SCHEMA_REVISION:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.connect().execution_options(writes=True) as connection:
        config.attributes["connection"] = connection
        try:
            with connection.begin():
                command.upgrade(config, "head")
        except CommandError as error:
            newest = f"this version knows schemas up to {SCHEMA_REVISION!r}; use the version that wrote it"
            raise ValueError(f"schema {revision!r}: {error}; {newest}") from error


def _create(engine: Engine) -> bool:
    """The current schema at once, where the database holds none of its tables yet."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        # Of two processes that start together one creates: SQLite's transaction lets one write, PostgreSQL is asked to.
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))
        if inspect(connection).get_table_names():
            return False
        METADATA.create_all(connection, checkfirst=False)
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_REVISION}')")  # noqa: S608 (ours)
        connection.execute(insert(AUDIT_HEAD).values(id=1, seq=0, hash="0" * 64))
    return True


def _current_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(select(text("version_num")).select_from(text("alembic_version"))).scalar()

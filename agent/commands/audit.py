"""`edgewright audit`: verify and export the audit trail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

DEFAULT_STORE = "sqlite:///edgewright.db"


@click.group()
def audit() -> None:
    """Verify or export the hash-chained audit trail."""


@audit.command()
@click.option("--store", "store_url", default=DEFAULT_STORE, show_default=True, help="Database URL.")
@click.option("--anchor", help="A head hash noted earlier; it must occur in the trail.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def verify(store_url: str, anchor: str | None, as_json: bool) -> None:
    """Recompute the whole chain; exit status 1 where any byte of it changed."""
    from agent.store.audit_trail import verify_trail

    with _opened(store_url) as connection:
        report = verify_trail(connection, anchor=anchor)
    if as_json:
        faults = [{"seq": fault.seq, "what": fault.what} for fault in report.faults]
        document = {"num_entries": report.num_entries, "head_hash": report.head_hash, "faults": faults}
        click.echo(json.dumps({"is_intact": report.is_intact, **document}))
    else:
        for fault in report.faults:
            click.echo(f"entry {fault.seq}: {fault.what}", err=True)
        word = "intact" if report.is_intact else "BROKEN"
        click.echo(f"{report.num_entries} entries, head {report.head_hash}: {word}")
    if not report.is_intact:
        sys.exit(1)


@audit.command()
@click.option("--store", "store_url", default=DEFAULT_STORE, show_default=True, help="Database URL.")
@click.option(
    "--after", "after_seq", type=click.IntRange(0, 2**63 - 1), default=0, help="Only entries after this number."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a line for each entry.")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path), required=False)
def export(store_url: str, after_seq: int, as_json: bool, target: Path | None) -> None:
    """Write the trail as JSON lines to TARGET or stdout."""
    from dataclasses import asdict

    from agent.errors import AgentInputInvalid
    from agent.store.audit_trail import read_trail

    with _opened(store_url) as connection:
        lines = [json.dumps(asdict(entry), sort_keys=True) for entry in read_trail(connection, after_seq=after_seq)]
    text = "[" + ",\n".join(lines) + "]\n" if as_json else "".join(f"{line}\n" for line in lines)
    if target is None:
        click.echo(text, nl=False)
    else:
        try:
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise AgentInputInvalid(
                f"TARGET {str(target)!r}: {error.strerror}; a writable file was expected"
            ) from error
        click.echo(f"{len(lines)} entries written to {target}", err=True)


@contextmanager
def _opened(store_url: str) -> Iterator[Connection]:
    """A connection to the store; raises StoreUnusable, also where its tables can't be read."""
    from sqlalchemy.exc import SQLAlchemyError

    from agent.errors import StoreUnusable

    engine = _existing_engine(store_url)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        raise StoreUnusable(f"store {engine.url.render_as_string()}: {str(error).splitlines()[0]}") from error


def _existing_engine(store_url: str) -> Engine:
    """The store's engine; a mistyped path is an error, not a new and perfectly intact trail."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from agent.errors import StoreUnusable
    from agent.store.engine import open_engine

    try:
        url = make_url(store_url)
    except ArgumentError:
        return open_engine(store_url)
    except ValueError as error:
        raise StoreUnusable("store: the port in the database URL must be a number") from error
    if url.get_backend_name() == "sqlite":
        if not Path(url.database or "").is_file():
            raise StoreUnusable(f"store {store_url!r}: there is no such file")
        _require_trail(url)
    return open_engine(store_url)


def _require_trail(url: URL) -> None:
    """Raises StoreUnusable for a file that holds no trail, before it is made a store of."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    from agent.errors import StoreUnusable
    from agent.store.tables import AUDIT

    engine = create_engine(url)
    try:
        holds_trail = inspect(engine).has_table(AUDIT.name)
    except SQLAlchemyError as error:
        raise StoreUnusable(f"store {url.render_as_string()}: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()
    if not holds_trail:
        raise StoreUnusable(f"store {url.render_as_string()}: it holds no audit trail")

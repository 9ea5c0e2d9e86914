"""The `edgewright audit` command on a tampered trail, on files that hold none, and with nowhere to write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.commands.audit import audit
from agent.errors import AgentInputInvalid, StoreUnusable
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, save_policy
from agent.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one policy and the entry that vouches for it."""
    policy = SchedulingPolicy(
        version=1, parent_version=0, planner="uniform", valid_from_s=0, valid_until_s=20, actions=()
    )
    with Store.open(f"sqlite:///{tmp_path}/store.db") as store:
        store.write(lambda t: save_policy(t, policy, PolicyStatus.PROPOSED, actor="loop"))
    return tmp_path / "store.db"


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize(
    "damage",
    [
        """UPDATE audit SET body = replace(body, '"id":1', '"id":"x"')""",
        """UPDATE audit SET body = replace(body, '"id":1', '"id":1.0')""",
        """UPDATE audit SET body = replace(body, '"id":1', '"id":[]')""",
        "UPDATE audit SET body = replace(hex(zeroblob(50000)), '0', '[')",
        "UPDATE audit SET body = x'00'",
        "UPDATE audit SET actor = x'00'",
        "UPDATE policies SET document = x'00'",
    ],
)
def test_a_trail_that_can_not_even_be_read_is_broken(path: Path, damage: str) -> None:
    execute(path, damage)
    result = run("verify", "--store", f"sqlite:///{path}")
    assert (result.exit_code, "BROKEN" in result.stdout) == (1, True)


def test_an_export_to_a_folder_that_is_not_there_names_it(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "missing" / "trail.jsonl"
    with pytest.raises(AgentInputInvalid, match=r"TARGET '.*missing/trail.jsonl': No such file or directory"):
        run("export", "--store", f"sqlite:///{path}", target)


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_store_without_its_tables_is_unusable(path: Path, command: str) -> None:
    execute(path, "DROP TABLE audit_head" if command == "verify" else "ALTER TABLE audit DROP COLUMN actor")
    with pytest.raises(StoreUnusable, match=r"store sqlite:///.*store\.db: .*no such (table|column)"):
        run(command, "--store", f"sqlite:///{path}")


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_file_that_holds_no_trail_stays_as_it_is(tmp_path: Path, command: str) -> None:
    for name, statement in (("empty.db", None), ("other.db", "CREATE TABLE notes (line TEXT)")):
        path = tmp_path / name
        path.touch()
        if statement is not None:
            execute(path, statement)
        before = path.read_bytes()
        with pytest.raises(StoreUnusable, match=rf"store sqlite:///.*{name}: it holds no audit trail"):
            run(command, "--store", f"sqlite:///{path}")
        assert path.read_bytes() == before


def test_a_port_that_is_no_number_is_told_without_the_password() -> None:
    with pytest.raises(StoreUnusable, match="port") as error:
        run("verify", "--store", "postgresql://u:secret@host:abc/db")
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    with pytest.raises(StoreUnusable, match=r"notes\.txt: .*file is not a database"):
        run("verify", "--store", f"sqlite:///{tmp_path}/notes.txt")


def test_an_entry_number_beyond_any_trail_is_refused(path: Path) -> None:
    result = run("export", "--store", f"sqlite:///{path}", "--after", str(10**30))
    assert (result.exit_code, "is not in the range" in result.stderr) == (2, True)

"""The `edgewright audit` command."""

from __future__ import annotations

import json
import sqlite3

import pytest
from click.testing import CliRunner

from agent.commands.audit import audit
from agent.errors import StoreUnusable
from agent.store.sessions import set_switch
from agent.store.store import Store


@pytest.fixture
def url(tmp_path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    with Store.open(url) as store:
        store.write(lambda t: set_switch(t, "kill_switch", {"is_on": True}, actor="ann"))
        store.write(lambda t: set_switch(t, "kill_switch", {"is_on": False}, actor="ben"))
    return url


def test_an_intact_trail_verifies(url):
    result = CliRunner().invoke(audit, ["verify", "--store", url, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["is_intact"] is True
    assert json.loads(result.stdout)["num_entries"] == 2


def test_a_changed_byte_ends_with_status_1_and_names_the_entry(url, tmp_path):
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute("UPDATE audit SET body = replace(body, 'true', 'null')")
    database.close()
    result = CliRunner().invoke(audit, ["verify", "--store", url])
    assert result.exit_code == 1
    assert "entry 1" in result.stderr
    assert "BROKEN" in result.stdout


def test_the_trail_is_exported_as_json_lines(url, tmp_path):
    target = tmp_path / "trail.jsonl"
    result = CliRunner().invoke(audit, ["export", "--store", url, str(target)])
    assert result.exit_code == 0
    entries = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(entry["seq"], entry["actor"]) for entry in entries] == [(1, "ann"), (2, "ben")]


def test_the_export_can_be_one_json_document(url):
    result = CliRunner().invoke(audit, ["export", "--store", url, "--json", "--after", "1"])
    assert [entry["seq"] for entry in json.loads(result.stdout)] == [2]


def test_a_mistyped_path_is_an_error_and_makes_no_file(tmp_path):
    url = f"sqlite:///{tmp_path}/missing.db"
    with pytest.raises(StoreUnusable, match=r"missing\.db"):
        CliRunner().invoke(audit, ["verify", "--store", url], catch_exceptions=False)
    assert not (tmp_path / "missing.db").exists()


def test_a_store_of_another_kind_is_refused_without_its_password():
    with pytest.raises(StoreUnusable) as error:
        CliRunner().invoke(audit, ["verify", "--store", "nosuch://u:secret@h/db"], catch_exceptions=False)
    assert "secret" not in str(error.value)

"""No raw address or identifier leaves an edge: digests hold none, exported rows hold keyed names."""

from __future__ import annotations

import csv
import json
import re
import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from edge_preprocess.commands import digest
from edge_preprocess.compact import pack
from edge_preprocess.errors import SiteKeyUnusable
from edge_preprocess.log_masking import VariableKind
from edge_preprocess.log_match import LogParameter
from edge_preprocess.pipeline import EdgePipeline
from edge_preprocess.site_key import SiteKey
from telemetry_sim.records import LogRecord

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = {
    "10.20.30.41": ("10.20", "30.41"),
    "ip-10-20-30-41": ("10-20", "30-41"),
    "2001:db8:0:7::2a5f": ("2001", "db8", "2a5f"),
    "00:1a:2b:3c:4d:5e": ("1a:2b", "4d:5e"),
    "AA-BB-CC-DD-EE-FA": ("BB", "DD", "FA"),
    "aabb.ccdd.eefa": ("aabb", "ccdd", "eefa"),
    "001010123456789": ("0010101", "3456789"),
    "35-209900-176148-1": ("209900", "176148"),
    "+49 170 1234567": ("170 ", "1234567"),
    "ada.lovelace@example.org": ("ada", "lovelace"),
    "pump-17.plant.example.com": ("pump", "plant"),
    "0x9fe3c1": ("9fe3c1",),
    "6fa459ea-ee8a-3ca4-894e-db77e160355e": ("6fa459ea", "894e"),
    "/home/ada/notes.txt": ("ada", "notes"),
    "mqtt://ada:secret@10.20.30.41/topic": ("secret", "ada"),
}
FORMS = (
    "00001.000 [RRC] W cell=0 ue={} handover failure",
    "Jan  3 04:05:06 edge-7 sshd[311]: Failed password for invalid user ada from {} port 5 ssh2",
    '{{"msg":"battery low","device":"{}"}}',
)

_NAME = re.compile(r"[a-z]+-[0-9a-f]{16}|t1-[0-9a-f]{12}")


@pytest.fixture
def key() -> SiteKey:
    return SiteKey(bytes(range(32)))


def exported(tmp_path: Path, *options: str) -> tuple[list[dict[str, str]], str]:
    """Rows under a key of every secret in every form, and all that was printed or written."""
    log, rows = tmp_path / "some.log", tmp_path / "rows.csv"
    log.write_text("".join(form.format(secret) + "\n" for secret in SECRETS for form in FORMS))
    arguments = ["logs", str(log), "--rows", str(rows), "--site-key", str(tmp_path / "site.key"), *options]
    result = CliRunner().invoke(digest, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    text = rows.read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines())), text + result.output.replace(str(log), "")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_part_of_an_address_or_identifier_is_in_rows_under_a_key(tmp_path: Path, options: tuple[str, ...]) -> None:
    rows, _ = exported(tmp_path, *options)
    assert len(rows) == len(SECRETS) * len(FORMS)
    for number, (secret, parts) in enumerate(SECRETS.items()):
        for row in rows[number * len(FORMS) : (number + 1) * len(FORMS)]:
            told = [value for _, value in json.loads(row["parameters"])]
            clear = [value for value in told if not _NAME.fullmatch(value)]
            assert row["template"] == ""
            assert not [part for part in (secret, *parts) for value in clear if part.strip() in value], (row, told)


def test_nothing_that_was_printed_or_written_holds_the_secrets(tmp_path: Path) -> None:
    _, everything = exported(tmp_path)
    everything = _NAME.sub("", everything)
    assert [secret for secret in (*SECRETS, "ada", "edge-7", "lovelace", "pump") if secret in everything] == []


def test_no_secret_is_in_digests_or_evidence(topology, make_frame) -> None:
    frames = [make_frame(t, (7_000_123, 2), (0, 1), (0, 1), served_bits=1e6, prb=2.0) for t in range(1, 11)]
    lines = [
        LogRecord(time_s=5.0, cell=0, source=source, text=form.format(secret))
        for secret in SECRETS
        for form in FORMS
        for source in ("gnb", "gateway", "firmware", secret)
    ]
    digests = EdgePipeline(topology).digest(frames, lines)
    assert any(one.events for one in digests)
    everything = "".join(one.model_dump_json() + pack(one).decode() for one in digests)
    parts = {part for parts in SECRETS.values() for part in parts if len(part) > 2}
    assert [secret for secret in (*SECRETS, *parts, "7000123") if secret in everything] == []


def test_a_name_is_the_same_at_one_site_and_another_elsewhere(key: SiteKey) -> None:
    assert key.name_of("10.0.0.1", "address") == key.name_of("10.0.0.1", "address")
    assert key.name_of("10.0.0.1", "address") != key.name_of("10.0.0.2", "address")
    assert key.name_of("10.0.0.1", "address") != SiteKey(bytes(32)).name_of("10.0.0.1", "address")


@pytest.mark.parametrize("text", ["3", "-3.25", "93.0 MB", "12ms", "75%"])
def test_lone_numbers_stay_in_clear(key: SiteKey, text: str) -> None:
    assert key.exported(LogParameter(VariableKind.QUANTITY, text, stands_alone=True)) == text
    assert key.exported(LogParameter(VariableKind.QUANTITY, text)) != text


@pytest.mark.parametrize("text", ["10.0.0.1", "001010123456789", "12345678"])
def test_numbers_that_may_identify_somebody_become_names(key: SiteKey, text: str) -> None:
    assert text not in key.exported(LogParameter(VariableKind.NUMBER, text, stands_alone=True))


def test_a_missing_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    first = SiteKey.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SiteKey.load(path).name_of("x", "word") == first.name_of("x", "word")


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    for content in (b"short", b"x" * 65):
        path.write_bytes(content)
        with pytest.raises(SiteKeyUnusable, match="bytes"):
            SiteKey.load(path)
    with pytest.raises(SiteKeyUnusable, match="readable"):
        SiteKey.load(tmp_path / "nowhere" / "site.key")

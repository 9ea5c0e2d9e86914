"""The replay command on the small recordings: documents, expectations, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.replay_stage import EXPLORA, OWN, SCOPE, Ended, run_replay, tiny_model_folder

Replay = Callable[..., Ended]


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Replay:
    return lambda *arguments: run_replay(monkeypatch, capsys, *arguments)


def document_of(ended: Ended) -> dict[str, Any]:
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)
    assert isinstance(found, dict)
    return found


def without_timings(ended: Ended) -> str:
    document = document_of(ended)
    assert set(document.pop("timings")) >= {"elapsed_s", "model_s"}
    return json.dumps(document, sort_keys=True)


@pytest.mark.parametrize("trace", [SCOPE, EXPLORA, OWN], ids=["scope", "explora", "own"])
def test_every_interval_gets_a_valid_policy_from_the_model(replay: Replay, trace: Path) -> None:
    document = document_of(replay(trace, "--model", tiny_model_folder(), "--json"))
    rows, edge = document["rows"], document["edge_rows"]
    assert rows["read"] == rows["accepted"] + rows["quarantined"]
    assert rows["quarantined"] == sum(rows["reasons"].values())
    assert edge["received"] == edge["accepted"] + edge["quarantined"] > 0
    assert document["num_policies"] == document["num_intervals"] == document["validity"]["policies_valid"] > 0
    num_cells = len(document["cells"])
    assert len(document["intervals"]) == num_cells * document["num_intervals"] == sum(document["sources"].values())
    assert document["validity"]["answers"] == len(document["intervals"])
    assert document["validity"]["answers_valid"] == document["validity"]["answers"]
    for row in document["intervals"]:
        assert sum(row["ours"]["min_pct"].values()) <= 100
        assert {"ours", "uniform"} <= set(row["what_if"])
    last = document["num_intervals"] - 1
    hindsight = [row["what_if"]["ours"]["hindsight"] for row in document["intervals"]]
    assert all(
        (one is None) == (row["interval"] == last) for one, row in zip(hindsight, document["intervals"], strict=True)
    )


def test_the_peer_stands_beside_us_in_every_explora_state(replay: Replay) -> None:
    document = document_of(replay(EXPLORA, "--planner", "optimiser", "--json"))
    assert document["is_per_state"]
    # Sixty actions on 55 states: five were decided again on an old one.
    assert document["num_intervals"] == document["summary"]["peer_decisions_beside_ours"] == 55
    assert document["summary"]["peer_decisions"] == 60
    assert document["summary"]["peer_decisions_repeated_on_a_state"] == 5
    for row in document["intervals"]:
        assert sum(row["peer"]["prb"].values()) == 50
        assert sum(row["peer"]["groups"].values()) == sum(row["ours"]["groups"].values()) == 17
        assert row["peer"]["min_pct"] == {name: 2 * prb for name, prb in row["peer"]["prb"].items()}
        assert set(row["what_if"]) == {"ours", "uniform", "peer"}
        assert 0 <= row["peer"]["time_s"] - row["time_s"] < 1.5
    assert document["summary"]["agreement"]["num_states"] == 55
    assert sum(document["summary"]["against_peer"]["foreseen"].values()) == 55


def test_equal_replays_give_equal_bytes_whatever_the_limit_and_pace(replay: Replay, tmp_path: Path) -> None:
    arguments = (EXPLORA, "--model", tiny_model_folder(), "--json")
    first = replay(*arguments, "--record", tmp_path / "a.jsonl")
    second = replay(*arguments, "--record", tmp_path / "b.jsonl")
    assert without_timings(first) == without_timings(second)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    short = document_of(replay(*arguments, "--limit", "7", "--speed", "1000"))
    whole = document_of(first)
    assert short["intervals"] == whole["intervals"][:7]


def test_an_interrupted_replay_goes_on_from_its_journal_and_ends_like_a_whole_one(
    replay: Replay, tmp_path: Path
) -> None:
    arguments = (EXPLORA, "--model", tiny_model_folder(), "--json")
    journal = tmp_path / "answers.jsonl"
    replay(*arguments, "--limit", "7", "--resume", journal)
    halfway = journal.read_text()
    resumed = replay(*arguments, "--resume", journal, "--speed", "1000")
    assert journal.read_text().startswith(halfway)
    assert without_timings(resumed) == without_timings(replay(*arguments))


def test_a_planner_without_a_model_keeps_no_journal(replay: Replay, tmp_path: Path) -> None:
    journal = tmp_path / "answers.jsonl"
    refused = replay(EXPLORA, "--planner", "optimiser", "--resume", journal)
    assert refused.status == 2
    assert "--resume keeps a model's answers; planner 'optimiser' asks none" in refused.err
    assert not journal.exists()


def test_a_recorded_replay_is_met_and_an_edited_decision_is_named(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "a.jsonl"
    document_of(replay(SCOPE, "--planner", "optimiser", "--json", "--record", expected))
    met = replay(SCOPE, "--planner", "optimiser", "--json", "--expect", expected)
    assert document_of(met)["drift"] == []
    told = replay(SCOPE, "--planner", "optimiser", "--expect", expected)
    assert told.out.splitlines()[-1] == f"8 decisions equal to those in {expected}"
    lines = expected.read_text().splitlines()
    row = json.loads(lines[4])
    row["slices"]["embb"]["min_pct"] -= 2
    row["slices"]["urllc"]["scheduler"] = "rr"
    lines[4] = json.dumps(row)
    expected.write_text("\n".join(lines) + "\n")
    drifted = replay(SCOPE, "--planner", "optimiser", "--expect", expected)
    assert drifted.status == 1
    min_pct = row["slices"]["embb"]["min_pct"]
    assert f"interval 3, cell 1, slice embb: min_pct is {min_pct + 2}, expected {min_pct}" in drifted.err
    assert "interval 3, cell 1, slice urllc: scheduler is edf, expected rr" in drifted.err
    assert "1 of 8 decisions" in drifted.err
    near = replay(SCOPE, "--planner", "optimiser", "--expect", expected, "--tolerance", "min_pct=2")
    assert near.status == 1
    assert "min_pct" not in near.err
    let = ("--tolerance", "min_pct=2", "--tolerance", "scheduler=any")
    within = replay(SCOPE, "--planner", "optimiser", "--expect", expected, *let)
    assert within.status == 0
    assert "8 decisions equal to those in" in within.out
    assert "within the tolerances given" in within.out
    assert "equal to" not in drifted.out


def test_another_model_drifts(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "a.jsonl"
    raw = (SCOPE, "--planner", "llm_raw", "--json")
    document_of(replay(*raw, "--model", tiny_model_folder(0), "--record", expected))
    assert replay(*raw, "--model", tiny_model_folder(0), "--expect", expected).status == 0
    other = replay(*raw, "--model", tiny_model_folder(1), "--expect", expected)
    assert other.status == 1
    assert "interval 0, cell 1" in other.err
    assert json.loads(other.out)["drift"]


def test_a_limited_replay_is_held_to_its_part_of_the_expectations(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "a.jsonl"
    document_of(replay(SCOPE, "--planner", "uniform", "--json", "--record", expected))
    assert replay(SCOPE, "--planner", "uniform", "--expect", expected, "--limit", "3").status == 0
    lines = expected.read_text().splitlines()
    expected.write_text("\n".join(lines[:-1]) + "\n")
    longer = replay(SCOPE, "--planner", "uniform", "--expect", expected)
    assert longer.status == 1
    assert "interval 7, cell 1: the replay has a decision, none was expected" in longer.err


MALFORMED = {
    "empty": "",
    "no json": "decisions\n",
    "no header": '{"interval":0}\n',
    "another version": '{"kind":"edgewright-decisions","version":2}\n',
    "invalid utf-8": "\udcff\udcfe\n",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_expectation_is_refused_before_the_replay(replay: Replay, tmp_path: Path, text: str) -> None:
    expected = tmp_path / "a.jsonl"
    expected.write_bytes(text.encode(errors="surrogateescape"))
    ended = replay(SCOPE, "--planner", "uniform", "--expect", expected)
    assert (ended.status, ended.out) == (2, "")
    assert "a.jsonl" in ended.err
    assert "Traceback" not in ended.err


def test_an_expectation_of_bytes_is_told_without_them(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "bin.dat"
    for content, told in ((b"\x9b\x01\x02\n", "got 4 bytes that are no text"), (b"decisions\n", "got 'decisions'")):
        expected.write_bytes(content)
        ended = replay(SCOPE, "--planner", "uniform", "--expect", expected)
        assert ended.status == 2
        assert f"{told}; expected a file that `edgewright replay --record` wrote" in ended.err
        assert "b'" not in ended.err


def test_damaged_expectation_rows_are_named_by_line(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "a.jsonl"
    document_of(replay(SCOPE, "--planner", "uniform", "--json", "--record", expected))
    lines = expected.read_text().splitlines()
    for damaged in (lines[3][:40], lines[3].replace('"min_pct":', '"min_pct":NaN,"x":'), lines[2]):
        expected.write_text("\n".join([*lines[:3], damaged, *lines[4:]]) + "\n")
        ended = replay(SCOPE, "--planner", "uniform", "--expect", expected)
        assert ended.status == 2
        assert "line 4" in ended.err


def test_expectations_of_another_trace_are_refused(replay: Replay, tmp_path: Path) -> None:
    expected = tmp_path / "a.jsonl"
    document_of(replay(SCOPE, "--planner", "uniform", "--json", "--record", expected))
    ended = replay(OWN, "--planner", "uniform", "--expect", expected)
    assert ended.status == 2
    assert "format is 'scope'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--planner", "oracle"), "planner 'oracle' is unknown"),
        (("--tolerance", "min_pct=2"), "--tolerance needs --expect"),
        (("--goal", "absent.json"), "absent.json"),
        (("--record", "absent/a.jsonl"), "its folder does not exist"),
        (("--expect", "absent.jsonl"), "absent.jsonl"),
        (("--limit", "0"), "--limit"),
        (("--speed", "-1"), "--speed"),
    ],
)
def test_bad_options_end_with_a_message(replay: Replay, arguments: tuple[str, ...], told: str) -> None:
    ended = replay(SCOPE, *arguments)
    assert ended.status == 2
    assert told in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("tolerance", ["min_pct", "min_pct=-1", "min_pct=nan", "colour=1", "tier=2"])
def test_bad_tolerances_name_what_is_allowed(replay: Replay, tmp_path: Path, tolerance: str) -> None:
    expected = tmp_path / "a.jsonl"
    document_of(replay(SCOPE, "--planner", "uniform", "--json", "--record", expected))
    ended = replay(SCOPE, "--planner", "uniform", "--expect", expected, "--tolerance", tolerance)
    assert ended.status == 2
    assert f"--tolerance {tolerance!r}" in ended.err


def test_unusable_traces_end_with_a_message(replay: Replay, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "cut.parquet").write_bytes(OWN.read_bytes()[:2000])
    (tmp_path / "scope").mkdir()
    (tmp_path / "scope" / "999700000000002_metrics.csv").write_text("Timestamp,colour\n1,red\n")
    for trace in ("empty.csv", "cut.parquet", "absent", "scope"):
        ended = replay(tmp_path / trace, "--planner", "uniform", "--json")
        assert (ended.status, ended.out) == (2, ""), trace
        assert trace in ended.err
        assert "Traceback" not in ended.err


def test_a_missing_or_damaged_model_is_refused_before_the_replay(replay: Replay, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in tiny_model_folder().iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"\0" * 100)
    for model in (tmp_path / "absent", damaged):
        ended = replay(SCOPE, "--model", model, "--json")
        assert (ended.status, ended.out) == (2, "")
        assert f"model {str(model)!r}" in ended.err
        assert "Traceback" not in ended.err


def test_an_endpoint_that_is_away_is_said_loudly_and_the_fallback_is_counted(replay: Replay) -> None:
    ended = replay(SCOPE, "--model", "http://127.0.0.1:9/v1", "--json")
    document = document_of(ended)
    assert "WARNING" in ended.err
    assert document["warnings"]
    assert document["sources"]["fallback"] == len(document["intervals"]) == 8
    assert document["validity"]["answers_invalid"] == 8


def test_a_model_that_the_planner_does_not_ask_is_refused(replay: Replay, tmp_path: Path) -> None:
    for option in ("--model", "--adapter"):
        ended = replay(SCOPE, "--planner", "uniform", option, tmp_path)
        assert (ended.status, ended.out) == (2, "")
        assert "planner 'uniform' asks no model" in ended.err


def test_a_folder_with_one_recording_names_it(replay: Replay, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(OWN.read_bytes())
    ended = replay(tmp_path, "--planner", "uniform")
    assert ended.status == 2
    assert f"is a folder; name the recording in it: {tmp_path / 'x.parquet'}" in ended.err
    (tmp_path / "y.parquet").write_bytes(OWN.read_bytes())
    assert "holds several recordings, name one of them: x.parquet, y" in replay(tmp_path, "--planner", "uniform").err


def test_a_goal_changes_the_decisions(replay: Replay, tmp_path: Path) -> None:
    goal = tmp_path / "goal.json"
    embb = {"sst": 1}
    goal.write_text(json.dumps({"id": "g", "expectations": [{"metric": "priority", "value": 10, "slices": [embb]}]}))
    plain = document_of(replay(SCOPE, "--planner", "weighted_need", "--json"))
    changed = document_of(replay(SCOPE, "--planner", "weighted_need", "--json", "--goal", goal))
    assert changed["goals"][0]["id"] == "g"
    gained = [
        one["ours"]["min_pct"]["embb"] - other["ours"]["min_pct"]["embb"]
        for one, other in zip(changed["intervals"], plain["intervals"], strict=True)
    ]
    assert min(gained) >= 0
    assert max(gained) > 5


def test_people_get_a_table_a_summary_and_a_report_with_plots(replay: Replay, tmp_path: Path) -> None:
    ended = replay(EXPLORA, "--planner", "optimiser", "--out", tmp_path / "report")
    assert ended.status == 0
    assert "667 read = 660 accepted + 7 quarantined" in ended.out
    assert "Agreement with the peer over 55 states" in ended.out
    for name in ("demand.png", "shares.png", "utility.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")
    assert "Agreement with the peer" in (tmp_path / "report" / "report.md").read_text()
    assert json.loads((tmp_path / "report" / "replay.json").read_text())["num_intervals"] == 55


@pytest.mark.data
def test_recorded_cells_are_replayed_whole(replay: Replay, recorded_data: Path) -> None:
    document = document_of(replay(recorded_data / "tractor_multi_ue/Trial2/multi4", "--planner", "optimiser", "--json"))
    rows = document["rows"]
    assert rows["read"] == rows["accepted"] + rows["quarantined"] > 20_000
    assert rows["reasons"]["earlier_run"] > 0
    assert document["num_policies"] == document["num_intervals"] == document["validity"]["policies_valid"] > 100


@pytest.mark.data
def test_a_recorded_controller_stands_beside_us(replay: Replay, recorded_data: Path) -> None:
    trace = recorded_data / "explora_oran_agent/motivation_main-results/exp1"
    document = document_of(replay(trace, "--planner", "optimiser", "--json", "--limit", "150"))
    assert document["summary"]["peer_decisions_beside_ours"] == 150
    assert document["summary"]["agreement"]["within_one_pct"] > 90


def test_a_report_folder_that_can_not_be_written_is_refused_before_the_replay(replay: Replay, tmp_path: Path) -> None:
    taken = tmp_path / "report"
    taken.write_text("a file, no folder")
    ended = replay(EXPLORA, "--planner", "optimiser", "--out", taken)

    assert (ended.status, ended.out) == (2, "")
    assert f"--out {str(taken)!r}" in ended.err
    assert "Replaying" not in ended.err


@pytest.fixture
def drive_test(tmp_path: Path) -> Path:
    """A phone's log as of the Irish 5G data set: rates alone, far more than the radio figures let one expect."""
    lines = ["Timestamp,Longitude,RAWCELLID,RSRP,SNR,CQI,DL_bitrate,State"]
    lines += [f"2031.01.16_10.43.{second:02d},-8,100,-99,9.0,10,140000,D" for second in range(60)]
    file = tmp_path / "B_log.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_what_a_recording_does_not_hold_is_told_as_unknown_and_gives_no_hindsight(
    replay: Replay, drive_test: Path
) -> None:
    document = document_of(replay(drive_test, "--planner", "uniform", "--json"))
    assert document["unknown"] == ["demand_kbps", "in_time_ratio", "delay_p95_ms", "prb_used"]
    assert {one["hindsight"] for row in document["intervals"] for one in row["what_if"].values()} == {None}
    assert document["summary"]["what_if"]["all"]["ours"]["hindsight"] is None
    told = replay(drive_test, "--planner", "uniform").out
    assert "does not hold the demand, what was in time, delays, PRBs" in " ".join(told.split())
    assert "against the demand that came" not in told


@pytest.mark.parametrize("trace", [SCOPE, EXPLORA, OWN], ids=["scope", "explora", "own"])
def test_recordings_with_prbs_hold_what_hindsight_needs(replay: Replay, trace: Path) -> None:
    document = document_of(replay(trace, "--planner", "uniform", "--limit", "2", "--json"))
    assert "prb_used" not in document["unknown"]

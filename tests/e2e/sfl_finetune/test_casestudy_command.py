from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from sfl_finetune.case_study import Trajectory
from sfl_finetune.case_study_encoder import find_encoder, make_encoder
from sfl_finetune.case_study_run import Pace, check_learnt, pace_for, planned_runs
from sfl_finetune.commands import casestudy
from sfl_finetune.encoder import pretrain_on_labels
from sfl_finetune.errors import CheckpointInvalid, CorpusInvalid, ModelUnsupported, SettingInvalid, TrainingFailed
from sfl_finetune.labelled_texts import deal_by_dirichlet, deal_evenly, read_labelled, tokenise

_WORDS = {"calm": ("quiet", "rest"), "storm": ("thunder", "wind"), "fog": ("mist", "grey")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    labels = list(_WORDS)
    for name, count in (("train.txt", 90), ("val.txt", 24)):
        rows = []
        for _ in range(count):
            label = labels[int(rng.integers(3))]
            rows.append(f"i see {_WORDS[label][int(rng.integers(2))]} {'far ' * int(rng.integers(1, 4))}today;{label}")
        (tmp_path / name).write_text("\n".join(rows))
    return tmp_path


def run(data: Path, out: Path, *options: str) -> Any:
    result = CliRunner().invoke(casestudy, ["--data", str(data), "--out", str(out), "--quick", "--json", *options])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def small_encoder(folder: Path) -> Path:
    pretrain_on_labels(["calm wind", "fog"], [0, 1], folder, num_layers=4, hidden_size=32, num_steps=1, seed=0)
    return folder


def test_a_report_without_runs_says_so(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    told = run(data, out, "--report-only", "--scheme", "lean", "--model", str(small_encoder(tmp_path / "encoder")))
    assert told["rows"] == []
    assert (out / "report.md").read_text() == "Nothing was trained yet.\n"


def test_a_link_that_is_unknown_is_refused_before_anything_is_trained(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    with pytest.raises(SettingInvalid, match="link 'rope' is unknown; known: fast-ethernet"):
        run(data, out, "--scheme", "lean", "--link", "rope")
    assert not out.exists()


def test_links_of_a_file_change_the_times_of_a_report(data: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "report", tmp_path / "lab.yaml"
    file.write_text("links:\n- {name: mesh, uplink_mbps: 5, downlink_mbps: 5}\n")
    run(data, out, "--rounds", "1", "--scheme", "lean", "--until-target", "--target", "0.01")
    given = ("--report-only", "--rounds", "1", "--scheme", "lean", "--devices", str(file))
    mesh, rate, plain = (run(data, out, *given, *link) for link in (("--link", "mesh"), ("--mbps", "5"), ()))
    times = [report["rows"][0]["seconds_per_round"] for report in (mesh, rate, plain)]
    assert times[0] == times[1] > times[2]


def test_a_report_on_an_empty_folder_trains_no_encoder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="holds no encoder and so no runs"):
        run(data, tmp_path / "report", "--report-only", "--scheme", "lean")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("file", ["train.txt", "val.txt"])
def test_runs_on_other_texts_or_labels_are_neither_gone_on_with_nor_reported(
    data: Path, tmp_path: Path, file: str
) -> None:
    out = tmp_path / "report"
    options = ("--rounds", "1", "--scheme", "centralised", "--model", str(small_encoder(tmp_path / "encoder")))
    # A step or two teach so raw an encoder nothing; the run is there all the same.
    with pytest.raises(TrainingFailed, match="learnt nothing"):
        run(data, out, *options)
    first, *others = (data / file).read_text().splitlines()
    text, _, label = first.rpartition(";")
    (data / file).write_text("\n".join([f"{text};{next(one for one in _WORDS if one != label)}", *others]))
    with pytest.raises(CheckpointInvalid, match="belongs to another run"):
        run(data, out, *options)
    with pytest.raises(TrainingFailed, match="holds a run on other texts or labels"):
        run(data, out, *options, "--report-only")


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (None, "doesn't tell what it was made of"),
        ("[]", "doesn't tell what it was made of"),
        ('{"size": "quick", "seed": 0, "texts": "others"}', "made with other texts; give what it was made with"),
        ('{"size": "full", "seed": 1, "texts": "others"}', "made with other size, seed, texts;"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--report-only",)], ids=str)
def test_an_encoder_made_of_something_else_is_not_taken(
    data: Path, tmp_path: Path, note: str | None, reason: str, more: tuple[str, ...]
) -> None:
    encoder = small_encoder(tmp_path / "report" / "encoder")
    if note is not None:
        (encoder / "pretrained.json").write_text(note)
    with pytest.raises(SettingInvalid, match=reason):
        run(data, tmp_path / "report", "--scheme", "lean", *more)


def test_a_pretrained_encoder_is_known_by_its_texts_seed_and_size(data: Path, tmp_path: Path) -> None:
    out, splits = tmp_path / "report", read_labelled(data)
    asked = {"model": None, "quick": True, "seed": 0, "report_only": False}
    assert find_encoder(asked, splits, out) is None
    assert make_encoder(asked, splits, out) == find_encoder(asked, splits, out) == str(out / "encoder")
    with pytest.raises(SettingInvalid, match="made with other seed;"):
        find_encoder(asked | {"seed": 1}, splits, out)
    with pytest.raises(SettingInvalid, match="made with other texts;"):
        find_encoder(asked, replace(splits, train=splits.train[1:]), out)


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_reports_place_is_refused_before_the_work(data: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingInvalid, match=r"--out .*a writable folder was expected"):
        run(data, tmp_path / "file" / below, "--scheme", "lean")


def test_an_encoder_that_is_nowhere_is_refused_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match="no such folder"):
        run(data, tmp_path / "report", "--model", "/nowhere")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_quick_study_fills_table_and_plots_and_is_done_once(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    options = ("--rounds", "4", "--scheme", "memory_efficient", "--scheme", "sfl", "--scheme", "centralised")
    first = run(data, out, *options)
    rows = {row["scheme"]: row for row in first["rows"]}
    assert rows["sfl"]["accuracy"] == rows["memory_efficient"]["accuracy"]
    assert rows["sfl"]["server_mib"] > 2 * rows["memory_efficient"]["server_mib"]
    assert rows["centralised"]["mib_per_round"] == 0
    assert all(row["is_complete"] and row["rounds"] == 4 for row in rows.values())
    assert all((out / name).stat().st_size > 1000 for name in ("accuracy.png", "memory.png", "gantt.png"))
    assert (out / "report.md").read_text().count("\n") == 5
    told = run(data, out, *options, "--report-only")
    assert told["rows"] == first["rows"]
    again = run(data, out, *options)
    assert [row["accuracy"] for row in again["rows"]] == [row["accuracy"] for row in first["rows"]]
    with pytest.raises(TrainingFailed, match="holds a run of other settings"):
        run(data, out, "--rounds", "5", "--scheme", "memory_efficient", "--report-only")
    with pytest.raises(CheckpointInvalid, match="begun for 4 rounds and 5 are asked for"):
        run(data, out, "--rounds", "5", "--scheme", "memory_efficient")
    assert run(data, out, *options, "--report-only")["rows"] == first["rows"]


def course(accuracy: float, *, is_complete: bool = True) -> Trajectory:
    return Trajectory(
        scheme="lean",
        dealing="iid",
        num_rounds=4,
        is_complete=is_complete,
        accuracy=((2, 0.9), (4, accuracy)),
        macro_f1=(),
        uplink_bytes=0,
        downlink_bytes=0,
        seconds=None,
    )


def test_a_run_that_learnt_nothing_fails_by_name(data: Path) -> None:
    splits = read_labelled(data)
    commonest = max(Counter(row.label for row in splits.validation).values()) / len(splits.validation)
    check_learnt([course(commonest + 0.06), course(0.0, is_complete=False)], splits)
    with pytest.raises(TrainingFailed, match=r"lean \(iid\) learnt nothing") as refused:
        check_learnt([course(1.0), course(commonest + 0.04)], splits)
    assert refused.value.exit_status == 3


@pytest.mark.slow
def test_quick_study_that_can_not_learn_still_writes_its_report(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    with pytest.raises(TrainingFailed, match="learnt nothing"):
        run(data, out, "--rounds", "1", "--scheme", "centralised", "--learning-rate", "1e-9")
    assert "centralised" in (out / "report.md").read_text()


def test_pooled_texts_are_trained_on_once_at_a_pace_of_their_own() -> None:
    assert planned_runs(("lean", "centralised"), ("iid", "dirichlet")) == [
        ("lean", "iid"),
        ("centralised", "iid"),
        ("lean", "dirichlet"),
    ]
    plain = {"learning_rate": None, "rounds": None, "quick": False}
    assert pace_for(plain, "centralised") == pace_for(plain, "sl") == Pace(learning_rate=5e-4, num_rounds=80)
    assert pace_for(plain, "lean") == Pace(learning_rate=4e-3, num_rounds=160)
    asked = {"learning_rate": 0.1, "rounds": 3, "quick": True}
    assert pace_for(asked, "sl") == pace_for(asked, "lean") == Pace(learning_rate=0.1, num_rounds=3)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("option", ["--learning-rate", "--target", "--utilisation", "--mbps"])
def test_numbers_that_are_none_are_refused_by_name(data: Path, tmp_path: Path, option: str, value: str) -> None:
    given = ["--data", str(data), "--out", str(tmp_path / "report"), "--quick", option, value]
    refused = CliRunner().invoke(casestudy, given)
    assert refused.exit_code == 2
    assert f"'{option}'" in refused.stderr


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no rows"), ("no label here\n", "is no `text;label`"), (";joy\n", "is no `text;label`")]
)
def test_malformed_texts_are_refused(data: Path, text: str, reason: str) -> None:
    (data / "train.txt").write_text(text)
    with pytest.raises(CorpusInvalid, match=reason):
        read_labelled(data)


def test_unknown_label_in_validation_is_refused(data: Path) -> None:
    (data / "val.txt").write_text("something;hail\n")
    with pytest.raises(CorpusInvalid, match="hail"):
        read_labelled(data)


def test_dealing_loses_no_text(data: Path) -> None:
    splits = read_labelled(data)

    def count(rows: list[str], **_: Any) -> dict[str, list[list[int]]]:
        return {"input_ids": [[number] for number in range(len(rows))]}

    examples = tokenise(splits.train, splits.labels, count, max_tokens=8)
    even = deal_evenly(examples, 6, np.random.default_rng(1))
    uneven = deal_by_dirichlet(examples, 6, np.random.default_rng(1), concentration=0.3)
    for sites in (even, uneven):
        dealt = sorted(example.token_ids[0] for site in sites for example in site.examples)
        assert dealt == list(range(90))
    assert {len(site.examples) for site in even} == {15}
    assert max(len(site.examples) for site in uneven) > 20

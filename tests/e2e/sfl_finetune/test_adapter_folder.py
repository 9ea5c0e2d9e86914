"""What a run leaves in its folder: an adapter that says what it is, or nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from sfl_finetune.commands import merge
from sfl_finetune.divergence import LossCourse
from sfl_finetune.errors import CheckpointInvalid, CorpusInvalid, SettingInvalid, TrainingFailed
from sfl_finetune.federation import Federation
from tests.finetune_stage import invoke, summary

DEVICES = ("--deadline", "10", "--site-device", "south=m3", "--site-device", "north=m3", "--mbps", "100")


def texts_of(folder: Path) -> dict[str, str]:
    """Every text below the folder."""
    kinds = {".json", ".jsonl", ".md"}
    return {path.name: path.read_text() for path in sorted(folder.rglob("*")) if path.suffix in kinds}


def test_the_readme_tells_where_an_adapter_comes_from(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    (corpus / "west.jsonl").write_text("not json\n")
    own = ("--site-batch", "south=2", "--u-shape", "--validation-share", "0.25", "--alpha", "6")
    found = summary(invoke(base, corpus, out, "--rounds", "3", "--scheme", "memory_efficient", *own))
    readme = (out / "README.md").read_text()
    for told in (
        f"Base: `{base.name}`",
        "rank 4, alpha 6, dropout 0, on down_proj, gate_proj",
        "scheme memory_efficient, 3 of 3 rounds, 2 steps a round, batches of (north 4, south 2)",
        "cut after layer 1, head and labels at the sites, averaged by fedavg, learning rate 0.002, seed 0",
        "18 rows learnt from (north 9, south 9), 6 held out; refused: west",
        f"{found['loss_at_start']:.4f} before and {found['loss_at_end']:.4f} after",
        f"{found['validation_loss']:.4f} on the rows held out",
        "edgewright run --model BASE --adapter ADAPTER",
        "edgewright merge --model BASE --adapter ADAPTER --out MERGED",
    ):
        assert told in readme
    assert "More Information Needed" not in readme


@pytest.mark.parametrize(
    ("options", "way", "joined"),
    [
        (
            ("--scheme", "lean"),
            "over sites; prompts stayed where they were, their activations and, as token ids, the completions crossed.",
            "averaged by fedavg",
        ),
        (
            ("--scheme", "lean", "--u-shape"),
            "over sites; rows and labels stayed where they were, their activations crossed.",
            "averaged by fedavg",
        ),
        (
            ("--scheme", "sl"),
            "split learning, site after site; prompts stayed where they were, their activations and, as token ids, ",
            "handed on, not averaged",
        ),
        (("--scheme", "centralised"), "learning on the rows of all sites, pooled in one place.", None),
    ],
    ids=["lean", "u-shaped", "relay", "pooled"],
)
def test_the_readme_claims_no_more_privacy_than_the_run_had(
    base: Path, corpus: Path, tmp_path: Path, options: tuple[str, ...], way: str, joined: str | None
) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, "--rounds", "1", *options))
    readme = (out / "README.md").read_text()
    assert way in readme
    assert ("federated" in readme) == ("lean" in options)
    assert ("averaged by" in readme) == (joined == "averaged by fedavg")
    assert joined is None or joined in readme


def test_no_file_of_an_adapter_names_a_place_of_this_machine(base: Path, corpus: Path, tmp_path: Path) -> None:
    first, second, merged = tmp_path / "first", tmp_path / "second", tmp_path / "merged"
    summary(invoke(base, corpus, first, "--rounds", "1"))
    summary(invoke(base, corpus, second, "--rounds", "1", "--start-from", str(first)))
    given = ["--model", str(base), "--adapter", str(second), "--out", str(merged)]
    assert CliRunner().invoke(merge, given, catch_exceptions=False).exit_code == 0
    for folder in (first, second, merged):
        for name, text in texts_of(folder).items():
            assert str(tmp_path) not in text, (folder, name)
            assert str(base.parent) not in text, (folder, name)
    assert json.loads((first / "adapter_config.json").read_text())["base_model_name_or_path"] == base.name
    assert "begun from the adapter `first`" in (second / "README.md").read_text()
    assert json.loads((merged / "tuned.json").read_text())["adapter"] == "second"


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_base_that_moved_is_still_the_adapters_own(base: Path, corpus: Path, tmp_path: Path) -> None:
    adapter, moved = tmp_path / "adapter", tmp_path / "elsewhere"
    options = ("--rounds", "2", "--learning-rate", "0.02")
    summary(invoke(base, corpus, adapter, *options))
    shutil.copytree(base, moved)
    assert summary(invoke(moved, corpus, tmp_path / "next", "--rounds", "1", "--start-from", str(adapter)))
    assert summary(invoke(moved, corpus, adapter, *options, "--resume"))["rounds"] == 2
    given = ["--model", str(moved), "--adapter", str(adapter), "--out", str(tmp_path / "merged")]
    assert CliRunner().invoke(merge, given, catch_exceptions=False).exit_code == 0
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(moved), str(adapter))
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.arange(1, 20)[None]
    with torch.inference_mode():
        assert torch.allclose(tuned(ids).logits, merged(ids).logits, atol=1e-5)


def test_a_loss_that_ends_above_its_beginning_is_told(base: Path, corpus: Path, tmp_path: Path) -> None:
    sharp = sharpened(base, tmp_path / "sharp")
    taught = tmp_path / "taught"
    good = invoke(sharp, corpus, taught, "--rounds", "12", "--learning-rate", "0.02")
    assert summary(good)["has_diverged"] is summary(good)["is_guessing"] is False
    assert summary(good)["loss_at_end"] < summary(good)["loss_at_start"]
    assert "WARNING" not in good.stderr

    out = tmp_path / "worse"
    bad = invoke(sharp, corpus, out, "--rounds", "2", "--start-from", str(taught), "--learning-rate", "1e6")
    found = summary(bad)
    assert bad.exit_code == 0
    assert found["has_diverged"] is True
    assert found["loss_at_end"] > 1.1 * found["loss_at_start"]
    assert f"ended at {found['loss_at_end']:.4g}, above its beginning of {found['loss_at_start']:.4g}" in bad.stderr
    assert "above its beginning" in (out / "README.md").read_text()


def sharpened(base: Path, folder: Path) -> Path:
    """The base with a head that can be sure of something, so that being wrong costs."""
    shutil.copytree(base, folder)
    model = LlamaForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    model.save_pretrained(folder)
    return folder


def test_a_model_that_ends_no_better_than_a_guess_is_told(base: Path, corpus: Path, tmp_path: Path) -> None:
    ended = invoke(base, corpus, tmp_path / "adapter", "--rounds", "2", "--learning-rate", "1e6")
    assert summary(ended)["is_guessing"] is True
    assert f"no lower than a guess's {math.log(257):.4g}" in ended.stderr


@pytest.mark.parametrize(
    ("start", "end", "has_diverged", "is_guessing"),
    [
        (1.0, 0.5, False, False),
        (1.0, 1.05, False, False),
        (1.0, 1.2, True, False),
        (0.001, 0.005, False, False),
        (9.0, 5.0, False, True),
        (None, 1.0, False, False),
        (1.0, None, False, False),
    ],
)
def test_chance_and_what_was_not_measured_are_no_divergence(
    start: float | None, end: float | None, has_diverged: bool, is_guessing: bool
) -> None:
    course = LossCourse(start=start, end=end, guess=5.0)
    assert (course.has_diverged, course.is_guessing) == (has_diverged, is_guessing)
    assert bool(course.warning) is (has_diverged or is_guessing)


@pytest.mark.parametrize("scheme", ["lean", "sl", "centralised"])
@pytest.mark.parametrize("rounds", ["1", "3"])
def test_a_run_that_ends_in_no_number_fails_and_writes_no_adapter(
    base: Path, corpus: Path, tmp_path: Path, scheme: str, rounds: str
) -> None:
    out = tmp_path / "adapter"
    given = ("--rounds", rounds, "--local-steps", "1", "--scheme", scheme, "--learning-rate", "1e30")
    failed = invoke(base, corpus, out, *given)
    assert isinstance(failed.exception, TrainingFailed)
    assert failed.exception.exit_status == 3
    assert failed.stdout == ""
    assert {path.name for path in out.iterdir()} == {"run"}


def test_an_adapter_with_a_weight_that_is_no_number_is_not_kept(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round = Federation.run_round

    def spoilt(self: Federation, round_: int) -> object:
        report = run_round(self, round_)
        if round_ == 1:
            next(iter(self.state.values()))[0, 0] = math.inf
        return report

    monkeypatch.setattr(Federation, "run_round", spoilt)
    out = tmp_path / "adapter"
    failed = invoke(base, corpus, out, "--rounds", "3", "--checkpoint-every", "1")
    assert isinstance(failed.exception, TrainingFailed)
    assert "round 1: the adapter's" in str(failed.exception)
    assert "is no longer finite; try a lower learning rate" in str(failed.exception)
    assert not (out / "adapter_config.json").exists()
    assert json.loads((out / "run" / "checkpoints" / "latest.json").read_text()) == {"checkpoint": "round-000001"}


def test_a_base_that_gives_no_number_is_refused_before_the_first_round(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(base, broken)
    model = LlamaForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.weight[0, 0] = math.nan
    model.save_pretrained(broken)
    failed = invoke(broken, corpus, tmp_path / "adapter", "--rounds", "1")
    assert isinstance(failed.exception, TrainingFailed)
    assert "the base, or the adapter to start from, is damaged" in str(failed.exception)


def test_a_rate_beyond_the_weights_numbers_is_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    refused = invoke(base, corpus, tmp_path / "adapter", "--learning-rate", "3e38")
    assert isinstance(refused.exception, SettingInvalid)
    assert "allowed: above 0, to 1e+30" in str(refused.exception)


@pytest.mark.parametrize(
    "other",
    [("--site-device", "south=jetson-nano"), ("--mbps", "50"), ("--link", "fast-ethernet"), ("--deadline", "9")],
)
def test_resume_with_another_clock_is_refused(base: Path, corpus: Path, tmp_path: Path, other: tuple[str, ...]) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, "--rounds", "1", *DEVICES))
    given = list(DEVICES)
    if other[0] == "--link":
        del given[-2:]
    if other[0] == "--site-device":
        del given[2:4]
    refused = invoke(base, corpus, out, "--rounds", "1", *given, *other, "--resume")
    assert isinstance(refused.exception, CheckpointInvalid)
    assert "with a deadline also devices and link" in str(refused.exception)


def test_resume_takes_the_same_clock_however_it_is_put(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, "--rounds", "1", *DEVICES))
    turned = ("--site-device", "north=m3", "--deadline", "10", "--site-device", "south=m3")
    assert summary(invoke(base, corpus, out, "--rounds", "1", *turned, "--resume"))["rounds"] == 1


def test_without_a_deadline_nothing_hangs_on_the_clock(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, "--rounds", "1"))
    assert summary(invoke(base, corpus, out, "--rounds", "1", "--mbps", "5", "--resume"))["rounds"] == 1


LONG = "n" * 300


@pytest.mark.parametrize(
    ("option", "error", "told"),
    [
        ("--out", SettingInvalid, "a writable folder was expected"),
        ("--corpus", CorpusInvalid, "wanted a folder with a JSONL file per site"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused_by_its_option(
    base: Path, corpus: Path, tmp_path: Path, option: str, error: type[Exception], told: str
) -> None:
    refused = invoke(base, corpus, tmp_path / "adapter", "--rounds", "1", option, str(tmp_path / LONG))
    assert isinstance(refused.exception, error)
    assert "File name too long" in str(refused.exception)
    assert told in str(refused.exception)


def test_a_file_in_the_adapters_place_is_refused_before_the_work(base: Path, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = invoke(base, corpus, tmp_path / "file", "--rounds", "1")
    assert isinstance(refused.exception, SettingInvalid)
    assert "--out" in str(refused.exception)

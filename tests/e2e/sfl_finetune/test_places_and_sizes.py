"""What `finetune`, `merge` and `plan-split` refuse at once: names that are nowhere, sizes beyond use, places taken."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from sfl_finetune import finetune_run
from sfl_finetune.command_plan import plan_split
from sfl_finetune.commands import finetune, merge
from sfl_finetune.errors import ModelUnsupported, SettingInvalid, TrainingFailed
from tests.finetune_stage import invoke, summary

ONE = ("--rounds", "1", "--local-steps", "1")


def typed(command: click.Command, *words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def told(result: Result) -> str:
    assert isinstance(result.exception, SettingInvalid)
    return str(result.exception)


@pytest.mark.parametrize("name", ["nope", "no/body", "/nowhere", "n" * 300])
@pytest.mark.parametrize(
    ("command", "more"),
    [
        (finetune, ("--corpus", "x", "--out", "y")),
        (merge, ("--adapter", "x", "--out", "y")),
        (plan_split, ("--site", "a=m3")),
    ],
    ids=["finetune", "merge", "plan-split"],
)
def test_a_name_that_is_nowhere_is_looked_for_on_no_network(
    command: click.Command, more: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("went online"))
    refused = typed(command, "--model", name, *more)
    assert isinstance(refused.exception, ModelUnsupported)
    assert f"model {name!r}: no such folder, and no model of that name in the local cache" in str(refused.exception)
    assert "\n" not in str(refused.exception)


def test_a_model_by_its_cached_name_is_tuned_and_merged_on_no_network(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    snapshot = cache / "models--some--body" / "snapshots" / "0123"
    shutil.copytree(base, snapshot)
    (cache / "models--some--body" / "refs").mkdir()
    (cache / "models--some--body" / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("went online"))
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    given = ("--model", "some/body", "--corpus", corpus, "--out", adapter, "--rank", "4")
    assert summary(typed(finetune, *given, *ONE, "--json"))["rounds"] == 1
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "some/body"
    done = typed(merge, "--model", "some/body", "--adapter", adapter, "--out", merged)
    assert done.exit_code == 0
    assert (merged / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--rank", "100000"), "rank=100000 is above that of the model's largest matrix; allowed: 1 to 32"),
        (("--rank", "33"), "allowed: 1 to 32"),
        (("--site-rank", "north=100000", "--aggregation", "svd"), "allowed: 1 to 4"),
        (("--site-rank", "north=" + "9" * 5000, "--aggregation", "svd"), "has 5000 digits; allowed: 18"),
        (("--site-rank", "foo=3"), "--site-rank wants --aggregation svd; got fedavg"),
        (("--site-batch", "north=100000000"), "batch_size=100000000; allowed: 1 to 65536"),
    ],
)
def test_sizes_beyond_use_are_refused(
    base: Path, corpus: Path, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    refused = told(invoke(base, corpus, tmp_path / "adapter", *ONE, *options))
    assert reason in refused
    assert "exact" not in refused
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("option", ["--rounds", "--local-steps", "--batch-size", "--max-tokens", "--seed"])
def test_counts_beyond_reckoning_are_refused_with_their_range(tmp_path: Path, option: str) -> None:
    refused = typed(finetune, "--model", "x", "--corpus", "x", "--out", tmp_path, option, str(10**400))
    assert refused.exit_code == 2
    assert "is not in the range" in refused.stderr


def test_an_adapter_to_start_from_of_a_rank_beyond_use_is_refused(base: Path, corpus: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    summary(invoke(base, corpus, start, *ONE))
    config = json.loads((start / "adapter_config.json").read_text())
    (start / "adapter_config.json").write_text(json.dumps(config | {"r": 100_000}))
    refused = told(invoke(base, corpus, tmp_path / "adapter", *ONE, "--start-from", str(start)))
    assert "rank=100000" in refused


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--max-tokens", "100000000"), "--max-tokens 100000000: the model takes 2 to 64"),
        (("--rank", "100000"), "rank=100000 is above"),
    ],
)
def test_plans_beyond_the_model_are_refused(base: Path, options: tuple[str, ...], reason: str) -> None:
    assert reason in told(typed(plan_split, "--model", base, "--site", "a=m3", *options))


def test_a_finished_adapter_is_not_written_over_by_chance(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, *ONE))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert "holds an adapter already" in told(invoke(base, corpus, out, *ONE, "--seed", "1"))
    assert "is the adapter to start from" in told(
        invoke(base, corpus, out, *ONE, "--start-from", str(out), "--overwrite")
    )
    assert "give one of them" in told(invoke(base, corpus, out, *ONE, "--resume", "--overwrite"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert summary(invoke(base, corpus, out, *ONE, "--resume"))["rounds"] == 1
    assert summary(invoke(base, corpus, out, *ONE, "--seed", "1", "--overwrite"))["rounds"] == 1
    assert (out / "adapter_model.safetensors").read_bytes() != before[out / "adapter_model.safetensors"]


def test_an_interrupted_run_is_not_begun_anew_by_chance(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, *ONE))
    # As an interruption leaves it: checkpoints, and no adapter yet.
    for path in (*out.glob("adapter_*"), out / "edgewright_base.json"):
        path.unlink()
    assert "unfinished run; --resume goes on with it, --overwrite begins anew" in told(invoke(base, corpus, out, *ONE))
    drill = ("--fault", "south:0:absent")
    assert "another run" in str(invoke(base, corpus, out, *ONE, "--resume", *drill).exception)
    assert summary(invoke(base, corpus, out, *ONE, "--resume"))["rounds"] == 1


def test_overwriting_leaves_no_former_run_to_resume(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, *ONE))
    with monkeypatch.context() as stopped:
        # As a kill before the first checkpoint leaves it.
        stopped.setattr(finetune_run, "_train", Mock(side_effect=KeyboardInterrupt))
        invoke(base, corpus, out, *ONE, "--overwrite")
    assert "no readable checkpoint" in str(invoke(base, corpus, out, *ONE, "--resume").exception)


def test_a_run_that_diverges_leaves_no_former_adapter_for_its_own(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, *ONE))
    failed = invoke(base, corpus, out, *ONE, "--learning-rate", "1e30", "--overwrite")
    assert isinstance(failed.exception, TrainingFailed)
    assert {path.name for path in out.iterdir()} == {"run"}


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_model_is_not_merged_over_another_by_chance(base: Path, corpus: Path, tmp_path: Path) -> None:
    adapter, out = tmp_path / "adapter", tmp_path / "merged"
    summary(invoke(base, corpus, adapter, *ONE))
    given = ("--model", base, "--adapter", adapter, "--out")
    assert typed(merge, *given, out).exit_code == 0
    before = (out / "model.safetensors").read_bytes()
    (out / "model-00001-of-00002.safetensors").touch()
    assert "holds a model already" in told(typed(merge, *given, out))
    assert typed(merge, *given, out, "--overwrite").exit_code == 0
    assert (out / "model.safetensors").read_bytes() == before
    assert not (out / "model-00001-of-00002.safetensors").exists()
    assert "the adapter's own folder" in told(typed(merge, *given, adapter, "--overwrite"))
    other = tmp_path / "other"
    shutil.copytree(adapter, other)
    assert "must not lie beside" in told(typed(merge, *given, other, "--overwrite"))


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "NOTES.md", "tuned.json"])
def test_a_model_is_not_merged_over_other_files_by_chance(base: Path, corpus: Path, tmp_path: Path, name: str) -> None:
    own, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "out"
    shutil.copytree(base, own)
    (own / "NOTES.md").write_text("of the base")
    summary(invoke(own, corpus, adapter, *ONE))
    out.mkdir()
    for kept in (name, "training.json"):
        (out / kept).write_text("somebody's")
    given = ("--model", own, "--adapter", adapter, "--out", out)
    assert f"holds '{name}' already; give another folder, or --overwrite" in told(typed(merge, *given))
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        name: "somebody's",
        "training.json": "somebody's",
    }
    assert typed(merge, *given, "--overwrite").exit_code == 0
    assert (out / "training.json").read_text() == "somebody's"
    assert (out / "NOTES.md").read_text() == "of the base"
    assert {path.name for path in out.iterdir() if path.suffix in {".bin", ".safetensors"}} == {"model.safetensors"}


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_former_weights_stay_until_the_merged_ones_are_written(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter, out = tmp_path / "adapter", tmp_path / "out"
    summary(invoke(base, corpus, adapter, *ONE))
    out.mkdir()
    (out / "model-00001-of-00002.safetensors").write_text("former")
    monkeypatch.setattr("transformers.LlamaForCausalLM.save_pretrained", Mock(side_effect=OSError("disk is full")))
    failed = typed(merge, "--model", base, "--adapter", adapter, "--out", out, "--overwrite")
    assert "disk is full" in str(failed.exception)
    assert [path.name for path in out.iterdir()] == ["model-00001-of-00002.safetensors"]


@pytest.mark.parametrize("more", [(), ("--overwrite",), ("--resume",)], ids=str)
def test_a_readme_that_no_run_wrote_is_not_written_over(
    base: Path, corpus: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    out = tmp_path / "project"
    out.mkdir()
    (out / "README.md").write_text("a project's")
    assert "holds a README.md and neither an adapter nor a run" in told(invoke(base, corpus, out, *ONE, *more))
    assert {path.name: path.read_text() for path in out.iterdir()} == {"README.md": "a project's"}


def test_a_run_that_can_not_begin_leaves_the_former_adapter(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, broken = tmp_path / "adapter", tmp_path / "broken"
    summary(invoke(base, corpus, out, *ONE))
    shutil.copytree(out, broken)
    weights = load_file(broken / "adapter_model.safetensors")
    save_file({name: value * math.nan for name, value in weights.items()}, broken / "adapter_model.safetensors")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = (*ONE, "--overwrite")
    damaged = invoke(base, corpus, out, *again, "--start-from", str(broken))
    assert isinstance(damaged.exception, TrainingFailed)
    clock = ("--deadline", "10", "--site-device", "north=m3")
    assert "wants a --site-device for site 'south' too; given: north" in told(invoke(base, corpus, out, *again, *clock))
    with monkeypatch.context() as bare:
        bare.setitem(sys.modules, "torch.utils.tensorboard", None)
        assert "TensorBoard is not installed" in told(invoke(base, corpus, out, *again, "--tensorboard"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_the_summary_of_a_run_reads_as_text(base: Path, corpus: Path, tmp_path: Path) -> None:
    (corpus / "west.jsonl").touch()
    given = ("--model", base, "--corpus", corpus, "--out", tmp_path / "adapter", "--rank", "4", "--batch-size", "4")
    more = ("--rounds", "2", "--local-steps", "1", "--validation-share", "0.25", "--fault", "south:0:absent")
    shown = typed(finetune, *given, *more).stdout
    for line in (
        "sites: north (2 rounds), south (1 round)",
        "refused sites: west (",
        "loss on the same texts before and after the run: ",
        "loss on the last round's own texts, while it learnt from them: ",
        "loss on texts held out: ",
        "dropped in round 0: south (absent)",
    ):
        assert line in shown
    for repr_ in ("{", "[", "None", "False"):
        assert repr_ not in shown

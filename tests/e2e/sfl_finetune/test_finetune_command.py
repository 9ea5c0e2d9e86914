"""From a model folder and a corpus folder to an adapter that plain peft loads."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from sfl_finetune.commands import merge
from sfl_finetune.errors import CheckpointInvalid, CorpusInvalid, ModelUnsupported, SettingInvalid, TrainingFailed
from sfl_finetune.interruption import stop_on_sigint
from sfl_finetune.merging import merge_adapter
from tests.finetune_stage import invoke, summary


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_adapter_loads_in_plain_peft_and_lowers_the_loss(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    options = ("--rounds", "6", "--learning-rate", "0.02", "--validation-share", "0.25", "--evaluate-every", "2")
    found = summary(invoke(base, corpus, out, *options, "--tensorboard"))
    assert found["sites"] == ["north", "south"]
    assert found["uplink_bytes"] > 0
    rows = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["event"] == "evaluation"]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert list((out / "run" / "tensorboard").iterdir())
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), out)
    ids = torch.tensor([[40, 50, 60]])
    plain = AutoModelForCausalLM.from_pretrained(base)
    assert not torch.allclose(tuned(ids).logits, plain(ids).logits)


def test_a_site_may_hold_less_of_the_adapter_than_the_others(base: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    options = ("--rounds", "3", "--learning-rate", "0.02", "--aggregation", "svd", "--site-rank", "south=2")
    summary(invoke(base, corpus, out, *options))
    rows = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {len(value) for name, value in load_file(out / "adapter_model.safetensors").items() if "lora_A" in name} == {
        4
    }
    for wrong, reason in (("south", "no SITE=RANK"), ("south=9", "allowed: 1 to 4"), ("west=2", "west")):
        refused = invoke(base, corpus, tmp_path / "refused", "--aggregation", "svd", "--site-rank", wrong)
        assert isinstance(refused.exception, SettingInvalid)
        assert reason in str(refused.exception)


def test_a_run_goes_on_from_an_adapter_of_its_base_and_refuses_any_other(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    begun = summary(invoke(base, corpus, first, "--rounds", "3", "--learning-rate", "0.02"))
    given = ("--rounds", "1", "--start-from", str(first), "--learning-rate", "1e-9", "--rank", "2")
    again = summary(invoke(base, corpus, tmp_path / "again", *given))
    assert again["loss"] < begun["loss"]
    assert again["trainable_parameters"] == begun["trainable_parameters"]
    start, end = (load_file(folder / "adapter_model.safetensors") for folder in (first, tmp_path / "again"))
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in start)

    other = tmp_path / "other"
    shutil.copytree(base, other)
    model = LlamaForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.lm_head.weight.add_(1e-3)
    model.save_pretrained(other)
    refused = invoke(other, corpus, tmp_path / "refused", *given)
    assert isinstance(refused.exception, ModelUnsupported)
    assert "belongs to another base" in str(refused.exception)


def test_an_adapter_without_a_digest_must_name_its_base_and_fit(base: Path, corpus: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    summary(invoke(base, corpus, adapter, "--rounds", "1"))
    (adapter / "edgewright_base.json").unlink()
    given = ("--rounds", "1", "--start-from", str(adapter))
    assert summary(invoke(base, corpus, tmp_path / "fits", *given))["rounds"] == 1
    config = json.loads((adapter / "adapter_config.json").read_text())
    for change, reason in (({"r": 3}, "has shape"), ({"base_model_name_or_path": "some/other"}, "another base")):
        (adapter / "adapter_config.json").write_text(json.dumps(config | change))
        refused = invoke(base, corpus, tmp_path / "refused", *given)
        assert isinstance(refused.exception, ModelUnsupported)
        assert reason in str(refused.exception)
    (adapter / "adapter_model.safetensors").write_bytes(b"rubbish")
    assert "can't be read" in str(invoke(base, corpus, tmp_path / "refused", *given).exception)


def test_faults_end_in_the_summary_and_the_run_goes_on(base: Path, corpus: Path, tmp_path: Path) -> None:
    (corpus / "west.jsonl").write_text("not json\n")
    drills = ("--fault", "south:0:vanish:1", "--fault", "south:1:nan")
    found = summary(invoke(base, corpus, tmp_path / "adapter", "--rounds", "3", *drills))
    assert found["rounds"] == 3
    assert set(found["refused_sites"]) == {"west"}
    assert [(one["round"], one["client"]) for one in found["dropped"]] == [(0, "south"), (1, "south")]


def test_deadline_drops_the_straggler_and_keeps_the_others(base: Path, corpus: Path, tmp_path: Path) -> None:
    devices = ("--site-device", "north=m3", "--site-device", "south=jetson-nano", "--mbps", "1000")
    found = summary(invoke(base, corpus, tmp_path / "adapter", "--rounds", "1", "--deadline", "0.00122", *devices))
    assert [one["client"] for one in found["dropped"]] == ["south"]
    assert "deadline 0.00122 s" in found["dropped"][0]["reason"]
    without = invoke(base, corpus, tmp_path / "adapter", "--rounds", "1", "--deadline", "1")
    assert isinstance(without.exception, SettingInvalid)


def test_a_site_that_joins_late_needs_a_device_from_the_start(base: Path, corpus: Path, tmp_path: Path) -> None:
    given = ("--rounds", "2", "--deadline", "10", "--site-device", "north=m3", "--joins", "south:1")
    refused = invoke(base, corpus, tmp_path / "adapter", *given)
    assert isinstance(refused.exception, SettingInvalid)
    assert "for site 'south' too; given: north" in str(refused.exception)
    assert not (tmp_path / "adapter").exists()
    (corpus / "south.jsonl").write_text("not json\n")
    (corpus / "west.jsonl").write_text((corpus / "north.jsonl").read_text())
    own = ("--rounds", "1", "--deadline", "10", "--site-device", "north=m3", "--site-device", "west=m3")
    assert summary(invoke(base, corpus, tmp_path / "adapter", *own))["sites"] == ["north", "west"]


def test_a_u_shaped_round_takes_the_deadlines_clock_longer(base: Path, corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    # So slow a link that two messages each way take twice as long as one, whatever is computed.
    file.write_text("links:\n- {name: string, uplink_mbps: 0.01, downlink_mbps: 0.01}\n")
    devices = ("--devices", str(file), "--link", "string", "--site-device", "north=m3", "--site-device", "south=m3")
    given = ("--rounds", "1", "--local-steps", "1", "--scheme", "sfl", "--deadline", "150", *devices)
    assert summary(invoke(base, corpus, tmp_path / "plain", *given))["dropped"] == []
    late = invoke(base, corpus, tmp_path / "u-shaped", *given, "--u-shape")
    assert isinstance(late.exception, TrainingFailed)
    assert "deadline 150 s" in str(late.exception)


def test_sites_have_cuts_and_batches_of_their_own_and_join_later(base: Path, corpus: Path, tmp_path: Path) -> None:
    own = ("--site-cut", "south=2", "--site-batch", "south=2", "--joins", "south:1")
    found = summary(invoke(base, corpus, tmp_path / "adapter", "--rounds", "3", *own))
    assert found["rounds_by_site"] == {"north": 3, "south": 2}
    assert found["dropped"] == []
    for wrong, reason in (
        (("--site-cut", "west=2"), "no such site; sites: north, south"),
        (("--site-cut", "south=3"), "allowed: 1 to 2"),
        (("--site-cut", "south"), "no SITE=LAYERS"),
        (("--site-cut", "south=1", "--site-cut", "south=2"), "given twice for site 'south'"),
        (("--site-batch", "south=0"), "batch_size=0"),
        (("--joins", "west:1"), "'west' is to join but has no texts"),
        (("--joins", "south:soon"), "no SITE:ROUND"),
        (("--joins", "south:50"), "allowed: 0 to 49"),
    ):
        refused = invoke(base, corpus, tmp_path / "refused", *wrong)
        assert isinstance(refused.exception, SettingInvalid)
        assert reason in str(refused.exception)


def test_devices_and_links_of_a_file_drive_the_deadline(base: Path, corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "devices:\n- {name: mote, peak_tflops: 1e-5, memory_gib: 1}\n"
        "links:\n- {name: mesh, uplink_mbps: 1000, downlink_mbps: 1000}\n"
    )
    devices = ("--devices", str(file), "--site-device", "north=m3", "--site-device", "south=mote")
    given = ("--rounds", "1", "--deadline", "25", *devices)
    found = summary(invoke(base, corpus, tmp_path / "adapter", *given, "--link", "mesh"))
    assert [one["client"] for one in found["dropped"]] == ["south"]
    for wrong, reason in ((("--link", "mash"), "known: fast-ethernet"), (("--link", "mesh", "--mbps", "3"), "both")):
        refused = invoke(base, corpus, tmp_path / "refused", *given, *wrong)
        assert isinstance(refused.exception, SettingInvalid)
        assert reason in str(refused.exception)


def test_resume_after_a_stop_writes_the_same_adapter(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--rounds", "4", "--checkpoint-every", "1", "--dropout", "0.1")
    summary(invoke(base, corpus, tmp_path / "whole", *options))
    from sfl_finetune.federation import Federation

    run_round = Federation.run_round

    def interrupted(self: Federation, round_: int) -> Any:
        report = run_round(self, round_)
        if round_ == 1:
            signal.raise_signal(signal.SIGINT)
        return report

    with monkeypatch.context() as patch:
        patch.setattr(Federation, "run_round", interrupted)
        stopped = invoke(base, corpus, tmp_path / "parts", *options)
    assert stopped.exit_code == 130
    assert summary(stopped)["rounds"] == 2
    assert not (tmp_path / "parts" / "adapter_config.json").exists()
    assert summary(invoke(base, corpus, tmp_path / "parts", *options, "--resume"))["rounds"] == 4
    whole, parts = (load_file(tmp_path / part / "adapter_model.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_resume_with_another_adapter_or_other_texts_held_out_is_refused(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    given = ("--rounds", "1", "--alpha", "8", "--dropout", "0.1", "--validation-share", "0.25")
    summary(invoke(base, corpus, out, *given))
    before = (out / "adapter_model.safetensors").read_bytes()
    for other in (("--alpha", "16"), ("--dropout", "0.2"), ("--validation-share", "0.5")):
        refused = invoke(base, corpus, out, *given, *other, "--resume")
        assert isinstance(refused.exception, CheckpointInvalid)
        assert "adapter, texts, those held out, drills, or settings differ" in str(refused.exception)
    assert (out / "adapter_model.safetensors").read_bytes() == before
    assert summary(invoke(base, corpus, out, *given, "--resume"))["rounds"] == 1


def test_resume_with_more_rounds_writes_the_adapter_of_the_longer_run(base: Path, corpus: Path, tmp_path: Path) -> None:
    steady = ("--schedule", "constant", "--dropout", "0.1")
    summary(invoke(base, corpus, tmp_path / "whole", *steady, "--rounds", "3"))
    summary(invoke(base, corpus, tmp_path / "parts", *steady, "--rounds", "2"))
    assert summary(invoke(base, corpus, tmp_path / "parts", *steady, "--rounds", "3", "--resume"))["rounds"] == 3
    whole, parts = (load_file(tmp_path / part / "adapter_model.safetensors") for part in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert "learning rate 0.002 throughout" in (tmp_path / "parts" / "README.md").read_text()
    fewer = invoke(base, corpus, tmp_path / "parts", *steady, "--rounds", "2", "--resume")
    assert isinstance(fewer.exception, CheckpointInvalid)
    assert "has done 3 rounds already and 2 are asked for" in str(fewer.exception)


def test_more_rounds_for_a_rate_that_has_fallen_are_refused_with_the_way_out(
    base: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    summary(invoke(base, corpus, out, "--rounds", "2"))
    refused = invoke(base, corpus, out, "--rounds", "3", "--resume")
    assert isinstance(refused.exception, CheckpointInvalid)
    for told in ("begun for 2 rounds and 3 are asked for", "--schedule constant"):
        assert told in str(refused.exception)


def test_stop_before_the_first_round_still_reports_and_can_be_resumed(
    base: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfl_finetune import recipes

    load = recipes.load_causal_lm

    def interrupted(folder: str | Path) -> Any:
        signal.raise_signal(signal.SIGINT)
        return load(folder)

    options = ("--rounds", "2")
    with monkeypatch.context() as patch:
        patch.setattr(recipes, "load_causal_lm", interrupted)
        stopped = invoke(base, corpus, tmp_path / "parts", *options)
    assert stopped.exit_code == 130
    found = summary(stopped)
    assert (found["rounds"], found["interrupted"], found["adapter"]) == (0, True, None)
    summary(invoke(base, corpus, tmp_path / "whole", *options))
    assert summary(invoke(base, corpus, tmp_path / "parts", *options, "--resume"))["rounds"] == 2
    whole, parts = (load_file(tmp_path / part / "adapter_model.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_second_sigint_ends_at_once() -> None:
    with stop_on_sigint() as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
@pytest.mark.parametrize(
    "option", ["--deadline", "--mbps", "--learning-rate", "--alpha", "--dropout", "--validation-share"]
)
def test_numbers_that_are_none_are_refused_by_name(
    base: Path, corpus: Path, tmp_path: Path, option: str, value: str
) -> None:
    refused = invoke(base, corpus, tmp_path / "adapter", option, value)
    assert refused.exit_code == 2
    assert f"'{option}'" in refused.stderr
    assert value in refused.stderr


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (("--cut-layer", "3"), SettingInvalid, "allowed: 1 to 2"),
        (("--fault", "south:x:nan"), SettingInvalid, "unreadable"),
        (("--model", "/nowhere"), ModelUnsupported, "no such folder"),
        (("--corpus", "/nowhere"), CorpusInvalid, "does not exist"),
        (("--rank", "0"), SettingInvalid, "rank=0"),
        (("--link", "rope"), SettingInvalid, "link 'rope' is unknown"),
        (("--device", "cuda:77"), SettingInvalid, "device 'cuda:77' is not available; allowed here: auto, cpu"),
        (("--device", "gpu"), SettingInvalid, "device 'gpu' is not available; allowed here: auto, cpu"),
        (("--device", "mps"), SettingInvalid, "device 'mps' is not available; allowed here: auto, cpu"),
    ],
)
def test_bad_input_is_refused_clearly(
    base: Path, corpus: Path, tmp_path: Path, options: tuple[str, ...], error: type[Exception], text: str
) -> None:
    result = invoke(base, corpus, tmp_path / "adapter", *options)
    assert isinstance(result.exception, error)
    assert text in str(result.exception)


# peft 0.21 asks for a property that transformers 5.23 renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_merged_model_answers_as_base_and_adapter_do(base, corpus, tmp_path):
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    assert invoke(base, corpus, adapter, "--rounds", "2").exit_code == 0
    done = CliRunner().invoke(
        merge, ["--model", str(base), "--adapter", str(adapter), "--out", str(merged), "--json"], catch_exceptions=False
    )
    assert json.loads(done.stdout)["out"] == str(merged)
    assert (merged / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter))
    plain = AutoModelForCausalLM.from_pretrained(merged)
    tokens = torch.arange(1, 30)[None]
    with torch.inference_mode():
        apart, together, before = (
            model(tokens).logits for model in (tuned, plain, AutoModelForCausalLM.from_pretrained(base))
        )
    assert torch.allclose(apart, together, atol=1e-5)
    assert not torch.allclose(before, together, atol=1e-5)


def test_an_adapter_is_not_merged_into_another_base_or_over_its_own(base, corpus, tmp_path):
    adapter, other = tmp_path / "adapter", tmp_path / "other"
    assert invoke(base, corpus, adapter, "--rounds", "1").exit_code == 0
    shutil.copytree(base, other)
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig.from_pretrained(base)).save_pretrained(other)
    with pytest.raises(ModelUnsupported, match="another base"):
        merge_adapter(other, adapter, tmp_path / "out")
    with pytest.raises(SettingInvalid, match="own folder"):
        merge_adapter(base, adapter, base)
    assert not (tmp_path / "out").exists()

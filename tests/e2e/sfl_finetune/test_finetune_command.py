"""From a model folder and a corpus folder to an adapter that plain peft loads."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from peft import PeftModel
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sfl_finetune.commands import finetune
from sfl_finetune.errors import CorpusInvalid, ModelUnsupported, SettingInvalid
from sfl_finetune.finetune_run import stop_on_sigint


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<end>": 0} | {letter: number for number, letter in enumerate(alphabet, start=1)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=64,
        eos_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for site in ("north", "south"):
        rows = [{"prompt": f"{site} load {n} share ", "completion": str(n)} for n in range(10, 22)]
        (folder / f"{site}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def invoke(base: Path, corpus: Path, out: Path, *options: str) -> Result:
    given = ["--model", str(base), "--corpus", str(corpus), "--out", str(out), "--rank", "4", "--batch-size", "4"]
    return CliRunner().invoke(finetune, [*given, "--local-steps", "2", "--json", *options])


def summary(result: Result) -> Any:
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout)


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


def test_second_sigint_ends_at_once() -> None:
    with stop_on_sigint() as should_stop:
        assert not should_stop()
        signal.raise_signal(signal.SIGINT)
        assert should_stop()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (("--cut-layer", "3"), SettingInvalid, "allowed: 1 to 2"),
        (("--fault", "south:x:nan"), SettingInvalid, "unreadable"),
        (("--model", "/nowhere"), ModelUnsupported, "can't be loaded"),
        (("--corpus", "/nowhere"), CorpusInvalid, "does not exist"),
        (("--rank", "0"), SettingInvalid, "rank=0"),
        (("--device", "cuda:7"), SettingInvalid, "not available"),
    ],
)
def test_bad_input_is_refused_clearly(
    base: Path, corpus: Path, tmp_path: Path, options: tuple[str, ...], error: type[Exception], text: str
) -> None:
    if error is SettingInvalid and "--device" in options and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    result = invoke(base, corpus, tmp_path / "adapter", *options)
    assert isinstance(result.exception, error)
    assert text in str(result.exception)

"""A plan from a model's sizes and its sites' devices, in the words that `finetune` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from transformers import DistilBertConfig, LlamaConfig

from sfl_finetune.command_plan import plan_split
from sfl_finetune.commands import finetune
from sfl_finetune.errors import ModelUnsupported, PlanInfeasible, SettingInvalid


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "devices:\n"
        "- {name: weak, peak_tflops: 1e-4, memory_gib: 1}\n"
        "- {name: tight, peak_tflops: 1, memory_gib: 6e-4}\n"
        "- {name: mote, peak_tflops: 1, memory_gib: 1e-6}\n"
        "- {name: slow-server, peak_tflops: 1e-4, memory_gib: 4}\n"
        "links:\n- {name: mesh, uplink_mbps: 5, downlink_mbps: 5}\n"
    )
    return file


def plan(base: Path, lab: Path, *options: str) -> Any:
    given = ["--model", str(base), "--devices", str(lab), "--max-tokens", "16", *options]
    result = CliRunner().invoke(plan_split, given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return json.loads(result.stdout) if "--json" in options else result.stdout


def test_each_site_gets_a_cut_a_batch_and_a_rank_that_fit(base: Path, lab: Path) -> None:
    sites = ("--site", "north=m3", "--site", "south=tight", "--server", "slow-server", "--link", "mesh")
    found = plan(base, lab, *sites, "--json")
    north, south = found["sites"]
    assert (north["client"], north["device"], north["batch_size"], north["rank"]) == ("north", "m3", 16, 16)
    assert north["cut_layer"] == 2
    assert south["memory_gib"] <= south["device_gib"] == 6e-4
    assert (south["cut_layer"], south["batch_size"]) == (1, 8)
    assert found["server"]["memory_gib"] <= found["server"]["device_gib"]
    assert found["seconds_per_round"] > 0
    told = plan(base, lab, *sites)
    assert f"edgewright finetune {found['finetune_options']}" in told


def test_a_faster_link_makes_a_shorter_round(base: Path, lab: Path) -> None:
    sites = ("--site", "north=m3", "--json")
    slow, fast = (plan(base, lab, *sites, "--mbps", rate)["seconds_per_round"] for rate in ("1", "1000"))
    assert fast < slow


def test_the_plan_reads_as_options_of_finetune(base: Path, lab: Path) -> None:
    sites = ("--site", "north=m3", "--site", "south=tight", "--precision", "bf16", "--site-ranks", "--json")
    words = plan(base, lab, *sites)["finetune_options"].split()
    known = {name for parameter in finetune.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known
    assert "south=2" in words or "south=1" in words


def test_a_plan_for_heads_at_the_sites_says_so_and_costs_them_memory(base: Path, lab: Path) -> None:
    sites = ("--site", "north=m3", "--cut", "1", "--json")
    plain, u_shaped = plan(base, lab, *sites), plan(base, lab, *sites, "--u-shape")
    assert "--u-shape" in u_shaped["finetune_options"].split()
    assert "--u-shape" not in plain["finetune_options"]
    assert u_shaped["sites"][0]["memory_gib"] > plain["sites"][0]["memory_gib"]
    assert u_shaped["seconds_per_round"] > plain["seconds_per_round"]


def test_a_model_without_the_tasks_head_is_refused(lab: Path, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    DistilBertConfig(vocab_size=257, dim=32, hidden_dim=48, n_layers=3, n_heads=2).save_pretrained(folder)
    sites = ("--site", "north=m3")
    with pytest.raises(ModelUnsupported, match="type 'distilbert' can't be built for task 'causal_lm': Unrecognized"):
        plan(folder, lab, *sites)
    assert plan(folder, lab, *sites, "--task", "classification", "--json")["finetune_options"] is None


def test_where_nothing_fits_each_shortfall_is_named(base: Path, lab: Path) -> None:
    with pytest.raises(PlanInfeasible, match=r"north has 1e-06 GiB and needs at least .*south has") as refused:
        plan(base, lab, "--site", "north=mote", "--site", "south=mote")
    assert refused.value.exit_status == 3


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        (("--site", "north"), SettingInvalid, "no SITE=DEVICE"),
        (("--site", "north=m4"), SettingInvalid, "device 'm4' is unknown"),
        (("--site", "north=m3", "--cut", "3"), SettingInvalid, "allowed: 1 to 2"),
        (("--site", "north=m3", "--link", "rope"), SettingInvalid, "link 'rope' is unknown"),
        (("--site", "north=m3", "--model", "/nowhere"), ModelUnsupported, "no such folder"),
    ],
)
def test_bad_input_is_refused_by_name(
    base: Path, lab: Path, options: tuple[str, ...], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        plan(base, lab, *options)

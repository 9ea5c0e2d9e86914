"""The local model: valid by construction, deterministic, and honest about weights it can't use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from agent.errors import ModelUnavailable
from agent.models.local import LocalModel, load_local_model
from agent.pretraining.new_model import new_model
from agent.pretraining.tokenizer import save_tokenizer
from agent.prompting import parse_answer, write_prompt
from tests.agent_stage import TINY, fast_tokenizer, random_case, random_prompts, small_tokenizer, untrained_model


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with a tiny untrained model."""
    folder = tmp_path / "weights"
    save_tokenizer(small_tokenizer(), folder)
    new_model(small_tokenizer(), TINY, seed=1).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("seed", [1, 2])
def test_untrained_models_answer_validly_and_within_budget(seed: int) -> None:
    cases = [random_case(number, num_slices=size) for number, size in enumerate((2, 3, 4, 5, 6, 8))]
    prompts = [write_prompt(*case) for case in cases]

    for prompt, answer in zip(prompts, untrained_model(seed).answer(prompts), strict=True):
        plan = parse_answer(answer.text, prompt)
        assert plan.is_within_budget
        assert len(plan.slices) == prompt.num_slices
        assert 0 < answer.num_sampled < answer.num_tokens


def test_prompts_asked_together_and_one_by_one_get_the_same_answers() -> None:
    prompts = random_prompts(range(5))
    model = untrained_model(1)

    assert model.answer(prompts) == tuple(model.answer([prompt])[0] for prompt in prompts)


def test_more_prompts_than_are_decoded_together_are_answered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = random_prompts(range(5))
    together = untrained_model(1).answer(prompts)
    monkeypatch.setattr("agent.models.local._MOST_ROWS", 2)

    assert untrained_model(1).answer(prompts) == together
    assert len({answer.text for answer in together}) > 1


def test_equal_weights_give_equal_answers() -> None:
    prompts = random_prompts([11])
    twin = LocalModel(new_model(small_tokenizer(), TINY, seed=2), fast_tokenizer(small_tokenizer()), name="twin")

    assert twin.answer(prompts) == untrained_model(2).answer(prompts)


def test_no_prompts_need_no_model() -> None:
    assert untrained_model(1).answer([]) == ()


def test_saved_weights_answer_as_those_in_memory(weights: Path) -> None:
    prompts = random_prompts([12])
    loaded = load_local_model(str(weights))

    assert loaded.name == "weights"
    assert [a.text for a in loaded.answer(prompts)] == [a.text for a in untrained_model(1).answer(prompts)]


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _reshape_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(7)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _shrink_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:100].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _name_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "vit", "architectures": ["ViTModel"]}')


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _drop_a_tensor,
        _reshape_a_tensor,
        _shrink_vocabulary,
        _name_another_kind,
        shutil.rmtree,
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "config.json").write_text("{"),
        lambda folder: (folder / "tokenizer.json").write_text("not json"),
        lambda folder: [path.unlink() for path in folder.glob("tokenizer*")],
    ],
)
def test_weights_that_cannot_be_used_are_refused(weights: Path, damage: object) -> None:
    assert callable(damage)
    damage(weights)

    with pytest.raises(ModelUnavailable, match="weights"):
        load_local_model(str(weights))


def test_weights_that_are_not_numbers_are_refused_when_asked() -> None:
    model = new_model(small_tokenizer(), TINY, seed=3)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    damaged = LocalModel(model, fast_tokenizer(small_tokenizer()), name="nan")

    with pytest.raises(ModelUnavailable, match="not numbers"):
        damaged.answer(random_prompts([1]))


def test_a_folder_without_an_adapter_is_refused_as_one(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="adapter_config"):
        load_local_model(str(weights), adapter=tmp_path)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
def test_an_adapter_changes_the_model_that_reads_it(weights: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    tuned = get_peft_model(
        new_model(small_tokenizer(), TINY, seed=1),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    tuned.save_pretrained(tmp_path / "adapter")
    prompts = random_prompts(range(4))

    with_adapter = load_local_model(str(weights), adapter=tmp_path / "adapter").answer(prompts)
    assert [a.text for a in with_adapter] != [a.text for a in load_local_model(str(weights)).answer(prompts)]


def test_weights_for_another_form_of_the_prompt_are_refused(weights: Path) -> None:
    (weights / "training.json").write_text('{"template": "cell-plan-0"}')

    with pytest.raises(ModelUnavailable, match="'cell-plan-0', not 'cell-plan-5'"):
        load_local_model(str(weights))

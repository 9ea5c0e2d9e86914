from __future__ import annotations

import pytest
from transformers import BloomConfig, LlamaConfig, PretrainedConfig

from sfl_finetune.corpus import Example, Site
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.recipes import _hold_out, _longest, pick_device


def _site(num_texts: int) -> Site:
    return Site(name="n", examples=tuple(Example(token_ids=(i,), targets=(i,)) for i in range(num_texts)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.25, 0.29, 0.4, 0.58, 0.75, 0.9, 0.99])
def test_the_share_that_was_asked_for_is_held_out(share: float) -> None:
    (kept,), held = _hold_out((_site(100),), share)
    assert len(held) == round(100 * share)
    assert {*kept.examples, *held} == {*_site(100).examples}


@pytest.mark.parametrize(
    ("num_cuda", "wanted", "picked"),
    [(0, "auto", "cpu"), (0, "cpu", "cpu"), (2, "auto", "cuda"), (2, "cuda", "cuda"), (2, "cuda:1", "cuda:1")],
)
def test_a_device_that_is_there_is_taken(
    monkeypatch: pytest.MonkeyPatch, num_cuda: int, wanted: str, picked: str
) -> None:
    see_cuda_devices(monkeypatch, num_cuda)
    assert pick_device(wanted) == picked


@pytest.mark.parametrize("num_cuda", [0, 2])
@pytest.mark.parametrize("wanted", ["gpu", "mps", "cuda:2", "cuda:x", "cuda:", "CPU", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, num_cuda: int, wanted: str
) -> None:
    see_cuda_devices(monkeypatch, num_cuda)
    allowed = "auto, cpu, cuda, cuda:0, cuda:1" if num_cuda else "auto, cpu"
    with pytest.raises(SettingInvalid, match=rf"device '{wanted}' is not available; allowed here: {allowed}$"):
        pick_device(wanted)


def see_cuda_devices(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: number > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: number)


@pytest.mark.parametrize("num_texts", [1, 2, 3, 10])
@pytest.mark.parametrize("share", [0.5, 0.999999999, 1 - 2**-53])
def test_something_is_left_to_learn_from(share: float, num_texts: int) -> None:
    (kept,), held = _hold_out((_site(num_texts),), share)
    assert len(kept.examples) >= 1
    assert len(kept.examples) + len(held) == num_texts


def test_the_held_out_texts_are_spread_evenly() -> None:
    _, held = _hold_out((_site(10), _site(5)), 0.4)
    assert [one.token_ids[0] for one in held] == [2, 4, 7, 9, 2, 4]


@pytest.mark.parametrize(
    ("config", "wanted", "longest"),
    [
        (LlamaConfig(max_position_embeddings=4096), None, 1024),
        (LlamaConfig(max_position_embeddings=4096), 3000, 3000),
        (LlamaConfig(max_position_embeddings=4096), 5000, 4096),
        (LlamaConfig(max_position_embeddings=64), None, 64),
        (BloomConfig(), None, 1024),
        (BloomConfig(), 3000, 3000),
    ],
)
def test_a_text_may_be_as_long_as_is_wanted_and_the_model_takes(
    config: PretrainedConfig, wanted: int | None, longest: int
) -> None:
    assert _longest(config, wanted) == longest

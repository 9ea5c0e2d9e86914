from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfl_finetune.batches import batch_at, batches_per_epoch
from sfl_finetune.corpus import IGNORED, Example, Site, read_corpus
from sfl_finetune.errors import CorpusInvalid

_END = 1


class Letters:
    """A tokenizer with a token a letter."""

    eos_token_id = _END

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [ord(letter) for letter in text]
        return {"input_ids": [*ids, _END] if add_special_tokens else ids}


def read(folder: Path, **files: str) -> Any:
    for name, text in files.items():
        (folder / f"{name}.jsonl").write_text(text)
    return read_corpus(folder, Letters(), max_tokens=12)


def test_loss_is_on_the_completion_and_its_end_only(tmp_path: Path) -> None:
    corpus = read(tmp_path, north='{"prompt": "ab", "completion": "xyz"}\n\n')
    assert [site.name for site in corpus.sites] == ["north"]
    (example,) = corpus.sites[0].examples
    assert example.token_ids == (97, 98, 120, 121, 122, _END)
    assert example.targets == (IGNORED, IGNORED, 120, 121, 122, _END)


def test_empty_prompt_costs_the_first_target(tmp_path: Path) -> None:
    corpus = read(tmp_path, north='{"prompt": "", "completion": "xy"}')
    assert corpus.sites[0].examples[0].targets == (IGNORED, 121, _END)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no rows"),
        ("\n\n", "no rows"),
        ('{"prompt": "a"}', "south.jsonl:1: completion"),
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "completion": ""}', "south.jsonl:2: completion"),
        ('{"prompt": 3, "completion": "b"}', "south.jsonl:1: prompt"),
        ("[1, 2]", "south.jsonl:1"),
        ('{"prompt": "a", "comp', "south.jsonl:1"),
        ('{"prompt": "aaaaaaaaaaaaaaaaaaaaaaa", "completion": "b"}', "exceed 12 tokens"),
    ],
)
def test_bad_site_is_refused_with_its_reason_and_the_others_go_on(tmp_path: Path, text: str, reason: str) -> None:
    corpus = read(tmp_path, north='{"prompt": "ab", "completion": "x"}', south=text)
    assert [site.name for site in corpus.sites] == ["north"]
    assert reason in corpus.refused["south"]


def test_invalid_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "south.jsonl").write_bytes(b'{"prompt": "\xff", "completion": "b"}')
    with pytest.raises(CorpusInvalid, match=r"south.jsonl:1"):
        read_corpus(tmp_path, Letters(), max_tokens=12)


def test_a_site_that_is_no_file_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "south.jsonl").mkdir()
    (tmp_path / "west.jsonl").symlink_to(tmp_path / "nowhere")
    corpus = read(tmp_path, north='{"prompt": "ab", "completion": "x"}')
    assert [site.name for site in corpus.sites] == ["north"]
    assert all("can't be read" in corpus.refused[site] for site in ("south", "west"))


def test_folder_without_sites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusInvalid, match="no \\*\\.jsonl file"):
        read_corpus(tmp_path, Letters(), max_tokens=12)
    with pytest.raises(CorpusInvalid, match="does not exist"):
        read_corpus(tmp_path / "nowhere", Letters(), max_tokens=12)


def test_each_epoch_holds_every_text_once() -> None:
    site = Site(name="n", examples=tuple(Example(token_ids=(i,) * (i % 5 + 1), targets=(0,)) for i in range(2, 25)))
    per_epoch = batches_per_epoch(site, 4)
    for epoch in range(2):
        batches = [
            batch_at(site, epoch * per_epoch + step, batch_size=4, task="classification", seed=3)
            for step in range(per_epoch)
        ]
        seen = sorted(int(row[0]) for batch in batches for row in batch.token_ids)
        assert seen == list(range(2, 25))
        assert all((batch.attention_mask.sum(1) >= 1).all() for batch in batches)


def test_batches_depend_on_the_seed() -> None:
    site = Site(name="n", examples=tuple(Example(token_ids=(i,), targets=(0,)) for i in range(40)))
    first, second = (batch_at(site, 0, batch_size=8, task="classification", seed=seed) for seed in (1, 2))
    assert first.token_ids.tolist() != second.token_ids.tolist()

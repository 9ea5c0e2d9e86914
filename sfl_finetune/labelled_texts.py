"""Texts with a class each, one `text;label` a line, and how they are dealt out to sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sfl_finetune.corpus import Example, Site
from sfl_finetune.errors import CorpusInvalid, SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledText:
    """One line of the file."""

    text: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledSplits:
    """What is learnt from and what is tested on."""

    train: tuple[LabelledText, ...]
    validation: tuple[LabelledText, ...]
    labels: tuple[str, ...]
    """Sorted names of the classes."""


def read_labelled(folder: Path) -> LabelledSplits:
    """`train.txt` and `val.txt` of a folder such as CARER's."""
    train, validation = (_read(folder / name) for name in ("train.txt", "val.txt"))
    labels = tuple(sorted({row.label for row in train}))
    unknown = {row.label for row in validation} - set(labels)
    if unknown:
        raise CorpusInvalid(f"val.txt has labels {sorted(unknown)} that train.txt lacks; known: {', '.join(labels)}")
    return LabelledSplits(train=train, validation=validation, labels=labels)


def _read(file: Path) -> tuple[LabelledText, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusInvalid(f"{str(file)!r} can't be read: {error}; wanted lines of `text;label`") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        text, separator, label = line.rpartition(";")
        if not separator or not text.strip() or not label.strip():
            raise CorpusInvalid(f"{file.name}:{number}: {line[:60]!r} is no `text;label`")
        rows.append(LabelledText(text=text, label=label.strip()))
    if not rows:
        raise CorpusInvalid(f"{file.name} has no rows; wanted lines of `text;label`")
    return tuple(rows)


def tokenise(
    rows: Sequence[LabelledText], labels: Sequence[str], tokenizer: Any, *, max_tokens: int
) -> tuple[Example, ...]:
    """Token ids, cut off at `max_tokens`, and the class's number."""
    ids = tokenizer([row.text for row in rows], truncation=True, max_length=max_tokens)["input_ids"]
    return tuple(
        Example(token_ids=tuple(one), targets=(labels.index(row.label),)) for one, row in zip(ids, rows, strict=True)
    )


def deal_evenly(examples: Sequence[Example], num_sites: int, rng: np.random.Generator) -> tuple[Site, ...]:
    """Sites of equal size (give or take one) with the same mix of classes in expectation."""
    order = rng.permutation(len(examples))
    return _sites([order[start::num_sites] for start in range(num_sites)], examples)


def deal_by_dirichlet(
    examples: Sequence[Example], num_sites: int, rng: np.random.Generator, *, concentration: float
) -> tuple[Site, ...]:
    """Sites with different mixes of classes: each class is divided by a draw from a Dirichlet distribution.

    Source: Hsu, Qi, Brown 2019. Draws that leave a site without texts are repeated.
    """
    if concentration <= 0:
        raise SettingInvalid(f"concentration={concentration} must be above 0")
    labels = np.array([example.targets[0] for example in examples])
    for _ in range(100):
        shares: list[list[Any]] = [[] for _ in range(num_sites)]
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            borders = (np.cumsum(rng.dirichlet([concentration] * num_sites))[:-1] * len(members)).astype(int)
            for site, part in enumerate(np.split(members, borders)):
                shares[site].append(part)
        joined = [np.concatenate(parts) for parts in shares]
        if min(map(len, joined)) > 0:
            return _sites(joined, examples)
    raise SettingInvalid(f"concentration={concentration} leaves a site empty in 100 draws; choose a larger one")


def _sites(shares: Sequence[Any], examples: Sequence[Example]) -> tuple[Site, ...]:
    return tuple(
        Site(name=f"site{number}", examples=tuple(examples[index] for index in share.tolist()))
        for number, share in enumerate(shares)
    )

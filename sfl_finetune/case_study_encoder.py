"""The encoder that a case study starts from; of one pretrained here a note tells what it was made of."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from sfl_finetune.at_hand import folder_of
from sfl_finetune.corpus import texts_digest
from sfl_finetune.encoder import packaged_minilm, pretrain_encoder, pretrain_on_labels
from sfl_finetune.errors import SettingInvalid, TrainingFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sfl_finetune.labelled_texts import LabelledSplits

QUICK_TEXTS = 720
"""Training texts that the sites of a quick study hold."""
_FOLDER = "encoder"
"""In --out, of an encoder pretrained there."""
_NOTE = "pretrained.json"
"""In that folder."""


def find_encoder(options: Mapping[str, Any], splits: LabelledSplits, out: Path) -> str | None:
    """The given encoder, the packaged one, or one that was pretrained in `out`; None where one is still to be.

    Raises ModelUnsupported for a name that is nowhere, SettingInvalid where the one in `out` was made of other texts,
    seed or size, and TrainingFailed where only a report is asked for and there is none.
    """
    if options["model"]:
        folder_of(options["model"])
        return str(options["model"])
    packaged = None if options["quick"] else packaged_minilm()
    if packaged is not None:
        return str(packaged)
    folder = out / _FOLDER
    # Path.exists raises for names that no file can have; whoever claims the folder tells of those.
    if os.path.exists(folder / "config.json"):  # noqa: PTH110
        _check_note(folder, _made_of(options, splits))
        return str(folder)
    if options["report_only"]:
        raise TrainingFailed(f"--report-only: {out} holds no encoder and so no runs; run the command without it first")
    return None


def make_encoder(options: Mapping[str, Any], splits: LabelledSplits, out: Path) -> str:
    """Pretrain an encoder on the training texts; its folder in `out`."""
    folder = out / _FOLDER
    click.echo("Pretraining an encoder on the training texts", err=True)
    (_pretrain_quickly if options["quick"] else _pretrain)(splits, folder, seed=options["seed"])
    (folder / _NOTE).write_text(json.dumps(_made_of(options, splits), indent=2) + "\n")
    return str(folder)


def _made_of(options: Mapping[str, Any], splits: LabelledSplits) -> dict[str, Any]:
    return {
        "size": "quick" if options["quick"] else "full",
        "seed": options["seed"],
        "texts": texts_digest([("train", splits.train)]),
    }


def _check_note(folder: Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = json.loads((folder / _NOTE).read_text())
        differing = [name for name, value in wanted.items() if found.get(name) != value]
    except (OSError, ValueError, AttributeError) as error:
        raise SettingInvalid(
            f"{str(folder)!r} holds an encoder that doesn't tell what it was made of; remove it, or give another --out"
        ) from error
    if differing:
        raise SettingInvalid(
            f"{str(folder)!r} holds an encoder made with other {', '.join(differing)}; "
            "give what it was made with, or another --out"
        )


def _pretrain(splits: LabelledSplits, folder: Path, *, seed: int) -> None:
    texts = [row.text for row in splits.train]
    pretrain_encoder(texts, folder, num_layers=6, hidden_size=256, num_steps=4000, seed=seed)


def _pretrain_quickly(splits: LabelledSplits, folder: Path, *, seed: int) -> None:
    """On texts that no site will hold, where there are enough."""
    rows = splits.train[QUICK_TEXTS:] if len(splits.train) >= 2 * QUICK_TEXTS else splits.train
    texts, classes = [row.text for row in rows], [splits.labels.index(row.label) for row in rows]
    pretrain_on_labels(texts, classes, folder, num_layers=4, hidden_size=64, num_steps=500, seed=seed)

"""An adapter folded into its base: one plain model folder that needs no peft to load."""

from __future__ import annotations

import json
import shutil
import warnings
from typing import TYPE_CHECKING

import torch

from sfl_finetune.adapter_folder import base_digest, fill_adapter, holds_adapter, place_free, read_adapter
from sfl_finetune.at_hand import folder_of
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.output_folder import claim_folder
from sfl_finetune.recipes import load_causal_lm

if TYPE_CHECKING:
    from pathlib import Path

_NOTE = "tuned.json"


def merge_adapter(model: Path, adapter: Path, out: Path, *, overwrite: bool = False) -> dict[str, str]:
    """Write the base in `model` with the adapter added, in the base's own number format; the note beside it.

    Everything else in the base's folder (tokenizer, notes) is copied. Raises ModelUnsupported for an adapter of
    another base and SettingInvalid where `out` is the folder of one of them, or of a model that is not to be
    overwritten.
    """
    from peft import get_peft_model

    folder = folder_of(model)
    _check_place(out, folder, adapter, overwrite=overwrite)
    base = load_causal_lm(model)
    note = {"base_sha256": base_digest(base), "adapter": place_free(str(adapter))}
    config, weights = read_adapter(adapter, base=note["base_sha256"], model_name=str(model))
    config.inference_mode = True
    with warnings.catch_warnings():
        # peft calls names that transformers is renaming; nothing an operator can act on.
        warnings.simplefilter("ignore", FutureWarning)
        tuned = get_peft_model(base, config)
    fill_adapter(tuned, weights)
    merged = tuned.merge_and_unload()
    claim_folder("--out", out)
    for former in [path for path in out.iterdir() if _is_weights(path)]:
        former.unlink()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not _is_weights(path):
            shutil.copyfile(path, out / path.name)
    merged.to(_format_of(folder)).save_pretrained(str(out))
    (out / _NOTE).write_text(json.dumps(note, indent=2) + "\n")
    return note


def _check_place(out: Path, folder: Path, adapter: Path, *, overwrite: bool) -> None:
    for kind, other in (("base", folder), ("adapter", adapter)):
        if out.resolve() == other.resolve():
            raise SettingInvalid(f"--out {str(out)!r} is the {kind}'s own folder; give another one")
    if holds_adapter(out):
        raise SettingInvalid(
            f"--out {str(out)!r} holds an adapter, which a model must not lie beside; give another one"
        )
    if (out / "config.json").exists() and not overwrite:
        raise SettingInvalid(
            f"--out {str(out)!r} holds a model already; give another folder, or --overwrite to replace it"
        )


def _format_of(model: Path) -> torch.dtype:
    """The number format that the base is stored in."""
    from transformers import AutoConfig

    dtype: torch.dtype | None = AutoConfig.from_pretrained(model, local_files_only=True).dtype
    return dtype or torch.float32


def _is_weights(path: Path) -> bool:
    """Whether a file holds the base's weights, or says which file holds which of them."""
    return path.suffix in {".safetensors", ".bin"} or path.name.endswith(".index.json")

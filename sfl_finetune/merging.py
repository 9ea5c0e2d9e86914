"""An adapter folded into its base: one plain model folder that needs no peft to load."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sfl_finetune.adapter_folder import base_digest, fill_adapter, holds_adapter, place_free, read_adapter
from sfl_finetune.at_hand import folder_of
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.output_folder import claim_folder
from sfl_finetune.recipes import load_causal_lm

_NOTE = "tuned.json"


def merge_adapter(model: Path, adapter: Path, out: Path, *, overwrite: bool = False) -> dict[str, str]:
    """Write the base in `model` with the adapter added, in the base's own number format; the note beside it.

    Everything else in the base's folder (tokenizer, notes) is copied. Raises ModelUnsupported for an adapter of
    another base and SettingInvalid where `out` is the folder of one of them, or holds weights or files of the same
    names that are not to be overwritten. Former weights go once the new ones are there.
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
    with TemporaryDirectory(dir=out, prefix=".merging-") as name:
        made = Path(name)
        for path in _copied(folder):
            shutil.copyfile(path, made / path.name)
        merged.to(_format_of(folder)).save_pretrained(str(made))
        (made / _NOTE).write_text(json.dumps(note, indent=2) + "\n")
        _put_in_place(made, out)
    return note


def _put_in_place(made: Path, out: Path) -> None:
    names = sorted(path.name for path in made.iterdir())
    for name in names:
        (made / name).replace(out / name)
    for former in [path for path in out.iterdir() if _is_weights(path) and path.name not in names]:
        former.unlink()


def _check_place(out: Path, folder: Path, adapter: Path, *, overwrite: bool) -> None:
    for kind, other in (("base", folder), ("adapter", adapter)):
        if out.resolve() == other.resolve():
            raise SettingInvalid(f"--out {str(out)!r} is the {kind}'s own folder; give another one")
    if holds_adapter(out):
        raise SettingInvalid(
            f"--out {str(out)!r} holds an adapter, which a model must not lie beside; give another one"
        )
    taken = _taken(out, folder)
    if taken and not overwrite:
        what = "a model" if "config.json" in taken else repr(taken[0])
        raise SettingInvalid(
            f"--out {str(out)!r} holds {what} already; give another folder, or --overwrite to replace it"
        )


def _taken(out: Path, folder: Path) -> list[str]:
    """Names in `out` of weights, and of what else would be written over."""
    try:
        found = sorted(out.iterdir()) if os.path.lexists(out) else []
    except OSError as error:
        raise SettingInvalid(f"--out {str(out)!r}: {error.strerror}; a writable folder was expected") from error
    written = {"config.json", "generation_config.json", _NOTE, *(path.name for path in _copied(folder))}
    return [path.name for path in found if path.name in written or _is_weights(path)]


def _copied(folder: Path) -> list[Path]:
    """What of the base's folder is not made anew."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and not _is_weights(path)]


def _format_of(model: Path) -> torch.dtype:
    """The number format that the base is stored in."""
    from transformers import AutoConfig

    dtype: torch.dtype | None = AutoConfig.from_pretrained(model, local_files_only=True).dtype
    return dtype or torch.float32


def _is_weights(path: Path) -> bool:
    """Whether it is a file that holds weights, or says which file holds which of them."""
    return path.is_file() and (path.suffix in {".safetensors", ".bin"} or path.name.endswith(".index.json"))

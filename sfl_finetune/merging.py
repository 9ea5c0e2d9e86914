"""An adapter folded into its base: one plain model folder that needs no peft to load."""

from __future__ import annotations

import json
import shutil
import warnings
from hashlib import sha256
from typing import TYPE_CHECKING

from sfl_finetune.adapter_folder import base_digest, fill_adapter, read_adapter
from sfl_finetune.errors import SettingInvalid
from sfl_finetune.recipes import load_causal_lm

if TYPE_CHECKING:
    from pathlib import Path

    import torch

_WEIGHTS = "model.safetensors"
_NOTE = "tuned.json"


def merge_adapter(model: Path, adapter: Path, out: Path) -> dict[str, str]:
    """Write the base in `model` with the adapter added, in the base's own number format; what is kept in the note.

    Everything else in the base's folder (tokenizer, notes) is copied. Raises ModelUnsupported for an adapter of
    another base and SettingInvalid where `out` is the base's own folder.
    """
    from peft import get_peft_model

    if out.resolve() == model.resolve():
        raise SettingInvalid(f"out={str(out)!r} is the base's own folder; give another one")
    base = load_causal_lm(model)
    config, weights = read_adapter(adapter, base=base_digest(base), model_name=str(model))
    config.inference_mode = True
    with warnings.catch_warnings():
        # peft calls names that transformers is renaming; nothing an operator can act on.
        warnings.simplefilter("ignore", FutureWarning)
        tuned = get_peft_model(base, config)
    fill_adapter(tuned, weights)
    merged = tuned.merge_and_unload()
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(model.iterdir()):
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copyfile(path, out / path.name)
    merged.to(_format_of(model)).save_pretrained(str(out))
    note = {
        "base_sha256": _digest(model / _WEIGHTS),
        "adapter_sha256": _digest(adapter / "adapter_model.safetensors"),
    }
    (out / _NOTE).write_text(json.dumps(note, indent=2) + "\n")
    return note


def _format_of(model: Path) -> torch.dtype:
    """The number format that the base is stored in."""
    from transformers import AutoConfig

    dtype: torch.dtype | None = AutoConfig.from_pretrained(model).dtype
    if dtype is None:
        import torch

        return torch.float32
    return dtype


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()

"""A PEFT adapter folder, written with a note of its base and read only for that base."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sfl_finetune.checkpoint import fingerprint
from sfl_finetune.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

_BASE_NOTE = "edgewright_base.json"


def base_digest(model: PreTrainedModel) -> str:
    """What tells one plain base from another: names, shapes and first values of its weights."""
    return fingerprint(model, "")


def adapter_digest(config: PeftConfig) -> str:
    """What tells one adapter's configuration from another, wherever its base lies."""
    settings = {**config.to_dict(), "base_model_name_or_path": None}
    return sha256(json.dumps(settings, sort_keys=True, default=sorted).encode()).hexdigest()


def save_adapter(tuned: PeftModel, folder: Path, *, base: str) -> None:
    """Write the adapter as plain peft does, and beside it the digest of the base it belongs to."""
    tuned.save_pretrained(str(folder))
    (folder / _BASE_NOTE).write_text(json.dumps({"base_sha256": base}))


def read_adapter(folder: Path, *, base: str, model_name: str) -> tuple[PeftConfig, Mapping[str, Tensor]]:
    """Configuration and weights; refused where they were made for another base than `base`, loaded from `model_name`.

    A folder that plain peft wrote has no digest, so the name of its base must be the same.
    """
    from peft import PeftConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # The files are opened here, not by peft, which would ask a hub for those that are missing.
        weights: Mapping[str, Tensor] = load_file(folder / "adapter_model.safetensors")
        json.loads((folder / "adapter_config.json").read_text())
        config = PeftConfig.from_pretrained(str(folder))
        note = folder / _BASE_NOTE
        found = json.loads(note.read_text())["base_sha256"] if note.exists() else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelUnsupported(
            f"{str(folder)!r} can't be read as a PEFT adapter: {str(error).splitlines()[0]}; "
            "give a folder with adapter_config.json and adapter_model.safetensors"
        ) from error
    is_same = config.base_model_name_or_path == model_name if found is None else found == base
    if not is_same:
        raise ModelUnsupported(
            f"the adapter in {str(folder)!r} belongs to another base, {config.base_model_name_or_path!r}; "
            f"got {model_name!r}"
        )
    config.inference_mode = False
    return config, weights


def fill_adapter(tuned: PeftModel, weights: Mapping[str, Tensor]) -> None:
    """Put the weights of an adapter folder in place of the fresh ones; each must be there and fit."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    wanted: Mapping[str, Any] = get_peft_model_state_dict(tuned)
    odd = sorted(set(wanted) ^ set(weights))
    if odd:
        raise ModelUnsupported(f"the adapter does not fit the model: {odd[0]!r} is in one of them only")
    for name, value in weights.items():
        if value.shape != wanted[name].shape:
            raise ModelUnsupported(
                f"the adapter's {name!r} has shape {tuple(value.shape)}; the model wants {tuple(wanted[name].shape)}"
            )
    set_peft_model_state_dict(tuned, dict(weights))

"""A PEFT adapter folder, written with a note of its base and read only for that base."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfl_finetune.checkpoint import fingerprint
from sfl_finetune.errors import ModelUnsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

_BASE_NOTE = "edgewright_base.json"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_README = "README.md"


def base_digest(model: PreTrainedModel) -> str:
    """What tells one plain base from another: names, shapes and first values of its weights."""
    return fingerprint(model, "")


def adapter_digest(config: PeftConfig) -> str:
    """What tells one adapter's configuration from another, wherever its base lies."""
    settings = {**config.to_dict(), "base_model_name_or_path": None}
    return sha256(json.dumps(settings, sort_keys=True, default=sorted).encode()).hexdigest()


def place_free(name: str) -> str:
    """A folder by its own name where the way to it is this machine's alone; relative ones and hub names as given."""
    path = Path(name)
    return path.resolve().name if path.is_absolute() or ".." in path.parts else name


def save_adapter(tuned: PeftModel, folder: Path, *, base: str, readme: str) -> None:
    """Write the adapter for plain peft, beside it the digest of its base and a README; no path of this machine."""
    name = tuned.peft_config["default"].base_model_name_or_path or ""
    with _nameless(tuned):
        tuned.save_pretrained(str(folder))
    config = json.loads((folder / _CONFIG).read_text())
    config["base_model_name_or_path"] = place_free(name)
    (folder / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))
    (folder / _BASE_NOTE).write_text(json.dumps({"base_sha256": base}))
    (folder / _README).write_text(readme)


def holds_adapter(folder: Path) -> bool:
    """Whether a run has left its adapter there."""
    # Path.exists raises for names that no file can have; whoever claims the folder tells of those.
    return any(os.path.exists(folder / name) for name in (_CONFIG, _WEIGHTS))  # noqa: PTH110


def holds_readme(folder: Path) -> bool:
    """Whether something lies where `save_adapter` would write its README, whoever wrote it."""
    return os.path.lexists(folder / _README)


def remove_adapter(folder: Path) -> None:
    """Take away what `save_adapter` wrote; nothing where there is no adapter."""
    if holds_adapter(folder):
        for name in (_CONFIG, _WEIGHTS, _BASE_NOTE, _README):
            (folder / name).unlink(missing_ok=True)


def read_adapter(folder: Path, *, base: str, model_name: str) -> tuple[PeftConfig, Mapping[str, Tensor]]:
    """Configuration and weights; refused where they were made for another base than `base`, loaded from `model_name`.

    A folder that plain peft wrote has no digest, so the name of its base must be the same, or that of its folder.
    """
    from peft import PeftConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        # The files are opened here, not by peft, which would ask a hub for those that are missing.
        weights: Mapping[str, Tensor] = load_file(folder / _WEIGHTS)
        json.loads((folder / _CONFIG).read_text())
        config = PeftConfig.from_pretrained(str(folder))
        note = folder / _BASE_NOTE
        found = json.loads(note.read_text())["base_sha256"] if note.exists() else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelUnsupported(
            f"{str(folder)!r} can't be read as a PEFT adapter: {str(error).splitlines()[0]}; "
            "give a folder with adapter_config.json and adapter_model.safetensors"
        ) from error
    named = config.base_model_name_or_path
    is_same = named in {model_name, place_free(model_name)} if found is None else found == base
    if not is_same:
        raise ModelUnsupported(f"the adapter in {str(folder)!r} belongs to another base, {named!r}; got {model_name!r}")
    config.inference_mode = False
    config.base_model_name_or_path = model_name
    return config, weights


def largest_rank(config: PeftConfig) -> int:
    """Of an adapter's matrices; 0 for one of another kind."""
    settings: Any = config
    return max(
        int(rank) for rank in (getattr(settings, "r", 0), *(getattr(settings, "rank_pattern", {}) or {}).values())
    )


def fill_adapter(tuned: PeftModel, weights: Mapping[str, Tensor]) -> None:
    """Put the weights of an adapter folder in place of the fresh ones; each must be there and fit."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    with _nameless(tuned):
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


@contextmanager
def _nameless(tuned: PeftModel) -> Iterator[None]:
    """The adapter without its base's name: peft would ask a hub for a name that is no folder."""
    config = tuned.peft_config["default"]
    name = config.base_model_name_or_path
    config.base_model_name_or_path = ""
    try:
        yield
    finally:
        config.base_model_name_or_path = name

"""Models that are on this machine: folders, and names in the local cache. Nothing is ever fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sfl_finetune.errors import ModelUnsupported
from sfl_finetune.size_limits import MOST_TOKENS

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def folder_of(name: str | Path) -> Path:
    """The folder itself, or where the local cache keeps the model of that name; raises ModelUnsupported at once."""
    from huggingface_hub import try_to_load_from_cache

    # Path.is_dir raises for a name that no file can have.
    if os.path.isdir(name):  # noqa: PTH112
        return Path(name)
    try:
        found = try_to_load_from_cache(str(name), "config.json")
    except ValueError:
        # No name that a hub could have.
        found = None
    if not isinstance(found, str):
        raise ModelUnsupported(
            f"model {str(name)!r}: no such folder, and no model of that name in the local cache; nothing is fetched: "
            "give a folder with config.json and safetensors weights, or a name that is cached"
        )
    return Path(found).parent


def most_tokens(config: PretrainedConfig) -> int:
    """The longest text that the model takes."""
    limit: int | None = getattr(config, "max_position_embeddings", None)
    return limit if limit is not None and limit > 0 else MOST_TOKENS

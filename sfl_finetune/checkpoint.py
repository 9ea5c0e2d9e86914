"""Checkpoints: tensors in safetensors, the rest in JSON, each replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sfl_finetune.errors import CheckpointInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sfl_finetune.lora import AdapterState

CHECKPOINTS = "checkpoints"
"""Folder of them in a run's own."""
_POINTER = "latest.json"
_TENSORS = "tensors.safetensors"
_META = "meta.json"


def fingerprint(model: torch.nn.Module, settings: str) -> str:
    """What a checkpoint must have in common with the run that resumes from it: the weights' start and the settings."""
    digest = sha256(settings.encode())
    for name, weight in model.named_parameters():
        head = weight.detach().reshape(-1)[:64].float().cpu().contiguous()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + head.numpy().tobytes())
    return digest.hexdigest()


def has_checkpoint(folder: Path) -> bool:
    """Whether a run can be resumed from `folder`."""
    # Path.exists raises for names that no file can have; whoever claims the folder tells of those.
    return os.path.exists(folder / _POINTER)  # noqa: PTH110


def remove_checkpoints(folder: Path) -> None:
    """Take away every checkpoint in `folder`; nothing where there is none."""
    if has_checkpoint(folder):
        shutil.rmtree(folder)


def save_checkpoint(
    folder: Path,
    *,
    state: AdapterState,
    optimisers: Mapping[str, torch.optim.Optimizer],
    round_: int,
    run: str,
    extra: Mapping[str, Any],
) -> Path:
    """Write round `round_` beside the former checkpoint, point at it, then remove the former."""
    tensors = {f"state|{name}": value.contiguous() for name, value in state.items()}
    for owner, optimiser in optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser|{owner}|{index}|{key}": torch.as_tensor(value).contiguous()
                for key, value in moments.items()
            }
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"round-{round_:06d}"
    partial = folder / f".partial-{round_:06d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_file(tensors, partial / _TENSORS)
    (partial / _META).write_text(json.dumps({"round": round_, "run": run, "extra": dict(extra)}))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    pointer = folder / f".{_POINTER}"
    pointer.write_text(json.dumps({"checkpoint": target.name}))
    os.replace(pointer, folder / _POINTER)  # noqa: PTH105 - Path.replace does the same; this reads as what it is
    for old in folder.glob("round-*"):
        if old != target:
            shutil.rmtree(old)
    return target


def read_meta(folder: Path) -> dict[str, Any]:
    """What the latest checkpoint holds beside its tensors: `round` (rounds done), `run` and `extra`."""
    try:
        meta: dict[str, Any] = json.loads((_latest(folder) / _META).read_text())
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointInvalid(f"no readable checkpoint in {str(folder)!r}: {error}") from error
    return meta


def load_checkpoint(
    folder: Path, *, optimisers: Mapping[str, torch.optim.Optimizer], run: str
) -> tuple[int, AdapterState, dict[str, Any]]:
    """Round, adapter and extras of the latest checkpoint; the optimisers take over their moments."""
    meta = read_meta(folder)
    try:
        tensors = load_file(_latest(folder) / _TENSORS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointInvalid(f"no readable checkpoint in {str(folder)!r}: {error}") from error
    if meta["run"] != run:
        raise CheckpointInvalid(
            f"the checkpoint in {str(folder)!r} belongs to another run, or an older version: base, adapter, texts, "
            "those held out, drills, or settings differ (with a deadline also devices and link); resume with the "
            "former command, or choose another --out"
        )
    for owner, optimiser in optimisers.items():
        _restore(optimiser, owner, tensors)
    state = {key.removeprefix("state|"): value for key, value in tensors.items() if key.startswith("state|")}
    return meta["round"], state, meta["extra"]


def _latest(folder: Path) -> Path:
    return folder / str(json.loads((folder / _POINTER).read_text())["checkpoint"])


def _restore(optimiser: torch.optim.Optimizer, owner: str, tensors: Mapping[str, torch.Tensor]) -> None:
    prefix = f"optimiser|{owner}|"
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, _, name = key.removeprefix(prefix).partition("|")
            moments.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})

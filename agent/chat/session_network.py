"""Which embedded network a named session is about, kept beside its store; read before anything heavy."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.chat.answer import clean_session_name
from agent.chat.room_options import RoomOptions
from agent.errors import AgentError, AgentInputInvalid

_KEPT = ("scenario", "seed", "num_devices")
"""Options that make the network."""


def latest_session(folder: Path) -> str:
    """The session about an embedded network used last; raises AgentInputInvalid where there is none."""
    files = sorted(folder.glob("*.db"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise AgentInputInvalid(f"nothing to resume: no session in {folder}; start one with --session NAME")
    return files[-1].stem


def with_own_network(options: RoomOptions, folder: Path, name: str, *, given: Collection[str]) -> RoomOptions:
    """The options with the network that the session has been about since it began; a new session keeps these.

    Raises AgentInputInvalid where one of the `given` options names another network.
    """
    path = folder / f"{clean_session_name(name)}.network.json"
    kept = _read(path)
    asked = {field: getattr(options, field) for field in _KEPT}
    if kept is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asked), encoding="utf-8")
        except OSError as error:
            raise AgentError(f"session file {path}: {error.strerror}") from error
        return options
    if any(kept[field] != asked[field] for field in given):
        told = ", ".join(f"{field.removeprefix('num_')} {value}" for field, value in kept.items() if value is not None)
        raise AgentInputInvalid(
            f"session {name!r} is about {told}; leave --scenario, --seed and --devices out, or begin another session"
        )
    return replace(options, scenario=kept["scenario"], seed=kept["seed"], num_devices=kept["num_devices"])


def _read(path: Path) -> dict[str, Any] | None:
    """None where nothing legible is kept."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        seed, num_devices = int(kept["seed"]), kept["num_devices"]
        is_legible = seed >= 0 and (num_devices is None or isinstance(num_devices, int))
        return {"scenario": str(kept["scenario"]), "seed": seed, "num_devices": num_devices} if is_legible else None
    except (OSError, ValueError, OverflowError, RecursionError, KeyError, TypeError):
        return None

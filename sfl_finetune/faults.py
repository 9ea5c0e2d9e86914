"""Client faults for drills and tests: what goes wrong, for whom, when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import torch

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sfl_finetune.wire import Message

FaultKind = Literal["absent", "vanish", "nan", "shape", "oversize"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault of one client."""

    client: str
    round: int
    kind: FaultKind
    """absent: misses the round; vanish: is gone between sending and receiving; nan, shape, oversize: sends rubbish."""
    step: int = 0
    """Local step of the round; an absence ignores it."""


def parse_fault(text: str) -> Fault:
    """The fault written as CLIENT:ROUND:KIND or CLIENT:ROUND:KIND:STEP."""
    fields = text.split(":")
    kinds = get_args(FaultKind)
    if len(fields) not in {3, 4} or fields[2] not in kinds or not all(f.isdigit() for f in (fields[1], *fields[3:])):
        raise SettingInvalid(
            f"fault {text!r} is unreadable; wanted CLIENT:ROUND:KIND[:STEP], KIND one of {', '.join(kinds)}"
        )
    kind: FaultKind = next(kind for kind in kinds if kind == fields[2])
    return Fault(client=fields[0], round=int(fields[1]), kind=kind, step=int(fields[3]) if len(fields) == 4 else 0)


def fault_of(faults: Sequence[Fault], client: str, round_: int, step: int) -> FaultKind | None:
    """What befalls a client at a local step."""
    kinds = [f.kind for f in faults if (f.client, f.round, f.step) == (client, round_, step) and f.kind != "absent"]
    return kinds[0] if kinds else None


def is_absent(faults: Sequence[Fault], client: str, round_: int) -> bool:
    """Whether a client misses the whole round."""
    return any((f.client, f.round, f.kind) == (client, round_, "absent") for f in faults)


def spoil(message: Message, kind: FaultKind | None, limit_bytes: int) -> Message:
    """The message as a faulty client would send it."""
    if message.features is None or kind not in {"nan", "shape", "oversize"}:
        return message
    features = message.features.detach().clone()
    if kind == "nan":
        features.view(-1)[0] = torch.nan
    elif kind == "shape":
        features = features[..., :-2]
    else:
        features = torch.zeros(1, limit_bytes // 4 + 1, 2)
    return replace(message, features=features)

"""Clients whose adapters have a rank of their own: each holds the leading part of the global adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sfl_finetune.errors import SettingInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sfl_finetune.lora import AdapterState

_A, _B = ".lora_A.", ".lora_B."


def leading(state: Mapping[str, Tensor], rank: int | None) -> AdapterState:
    """The first `rank` rows of every A and columns of every B, the rest as it is; all of it without a rank."""
    return {name: _part(name, value, rank) for name, value in state.items()}


def narrowed(names: Iterable[str], adapter: Iterable[nn.Parameter], rank: int | None) -> tuple[nn.Parameter, ...]:
    """Parameters of that rank with the leading values of `adapter`; those it has already where nothing changes."""
    return tuple(
        weight
        if rank is None or not (_A in name or _B in name)
        else nn.Parameter(_part(name, weight.detach(), rank).clone())
        for name, weight in zip(names, adapter, strict=True)
    )


def check_ranks(ranks: Mapping[str, int], sites: Sequence[str], state: Mapping[str, Tensor]) -> None:
    """Refuse ranks of unknown sites, above the adapter's, or for an adapter that has none."""
    unknown = sorted(set(ranks) - set(sites))
    if unknown:
        raise SettingInvalid(f"a rank is given for site {unknown[0]!r}; sites: {', '.join(sites)}")
    whole = {value.shape[0] for name, value in state.items() if _A in name}
    if not whole:
        raise SettingInvalid("ranks by site want a LoRA adapter; this one has no low-rank factors")
    for site, rank in ranks.items():
        if rank > min(whole):
            raise SettingInvalid(f"rank {rank} of site {site!r} is above the adapter's; allowed: 1 to {min(whole)}")


def _part(name: str, value: Tensor, rank: int | None) -> Tensor:
    if rank is None:
        return value
    return value[:rank] if _A in name else value[:, :rank] if _B in name else value

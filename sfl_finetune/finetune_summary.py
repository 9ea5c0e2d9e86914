"""What `edgewright finetune` says of its run, for people; `--json` holds the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def in_words(summary: Mapping[str, Any]) -> str:
    """A line for each thing that a reader may want to know; what was not measured has none."""
    return "\n".join(f"{name}: {text}" for name, text in _lines(summary))


def _lines(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "adapter", summary["adapter"] or "none, as the run was interrupted"
    yield "scheme", summary["scheme"]
    yield "sites", _sites(summary["sites"], summary["rounds_by_site"])
    if summary["refused_sites"]:
        yield "refused sites", "; ".join(f"{site} ({reason})" for site, reason in summary["refused_sites"].items())
    if summary["rows_too_long"]:
        yield "rows left out as too long", str(summary["rows_too_long"])
    yield "rounds", f"{summary['rounds']}{', interrupted' if summary['interrupted'] else ''}"
    yield from _losses(summary)
    yield "sent up and down", f"{_megabytes(summary['uplink_bytes'])} and {_megabytes(summary['downlink_bytes'])}"
    for drop in summary["dropped"]:
        yield f"dropped in round {drop['round']}", f"{drop['client']} ({drop['reason']})"
    yield "trainable parameters", f"{summary['trainable_parameters']:,}"
    yield "seconds in rounds", f"{summary['seconds']:g}"


def _losses(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    before, after = summary["loss_at_start"], summary["loss_at_end"]
    if before is not None and after is not None:
        yield "loss on the same texts before and after the run", f"{before:.4f} and {after:.4f}"
    if summary["loss"] is not None:
        yield "loss on the last round's own texts, while it learnt from them", f"{summary['loss']:.4f}"
    if summary["validation_loss"] is not None:
        told = f"{summary['validation_loss']:.4f}, {summary['validation_accuracy']:.1%} of tokens predicted exactly"
        yield "loss on texts held out", told


def _sites(sites: Sequence[str], rounds: Mapping[str, int]) -> str:
    """Each with the rounds it took part in; where all texts are pooled there are none to tell."""
    if not set(sites) & set(rounds):
        return ", ".join(sites)
    counts = {site: rounds.get(site, 0) for site in sites}
    return ", ".join(f"{site} ({count} round{'' if count == 1 else 's'})" for site, count in counts.items())


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"

"""What an adapter folder says of itself to people, without a path of the machine it was made on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sfl_finetune.adapter_folder import place_free

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sfl_finetune.divergence import LossCourse
    from sfl_finetune.federation_settings import FederationSettings
    from sfl_finetune.recipes import Prepared
    from sfl_finetune.training import RunResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """Where an adapter comes from and what its run came to."""

    model: str
    """As it was given."""
    start_from: Path | None
    prepared: Prepared
    result: RunResult
    losses: LossCourse


def adapter_readme(made: Made) -> str:
    """Markdown: base, adapter, run, sites, losses, and how to use the folder."""
    base = place_free(made.model)
    facts = [
        ("Base", f"`{base}`; `edgewright_base.json` holds the digest by which it is known again"),
        ("Adapter", _adapter(made)),
        ("Run", _run(made)),
        ("Sites", _sites(made)),
        ("Losses", _losses(made)),
    ]
    lines = [f"- {name}: {text}." for name, text in facts]
    return _TEMPLATE.format(base=base, way=_way(made.prepared.federation.settings), facts="\n".join(lines))


_TEMPLATE = """# A LoRA adapter of `{base}`

Written by `edgewright finetune`: {way}.

{facts}

Compare it with its base, or fold it in, where BASE is the folder of `{base}` and ADAPTER this one:

    edgewright run --model BASE --adapter ADAPTER
    edgewright merge --model BASE --adapter ADAPTER --out MERGED

`edgewright finetune --model BASE --start-from ADAPTER` goes on from it. Plain peft loads it as well:
`PeftModel.from_pretrained(base_model, "ADAPTER")`. How the loss went, round by round, is in `run/metrics.jsonl`.
"""


def _way(settings: FederationSettings) -> str:
    """How the sites learnt together, and what of their rows crossed."""
    if not settings.scheme.is_split:
        return "learning on the rows of all sites, pooled in one place"
    kind = "split learning, site after site" if settings.scheme.is_relay else "split federated learning over sites"
    if settings.is_u_shaped:
        return f"{kind}; rows and labels stayed where they were, their activations crossed"
    return f"{kind}; prompts stayed where they were, their activations and, as token ids, the completions crossed"


def _adapter(made: Made) -> str:
    config: Any = made.prepared.federation.tuned.peft_config["default"]
    targets = config.target_modules
    leaves = [targets] if isinstance(targets, str) else sorted({name.rpartition(".")[2] for name in targets})
    own = made.prepared.federation.settings.ranks
    less = f" ({_by_site(own)})" if own else ""
    told = (
        f"rank {config.r}{less}, alpha {config.lora_alpha:g}, dropout {config.lora_dropout:g}, on {', '.join(leaves)}"
    )
    return told if made.start_from is None else f"{told}; begun from the adapter `{place_free(str(made.start_from))}`"


def _run(made: Made) -> str:
    settings = made.prepared.federation.settings
    told = [f"scheme {settings.scheme.name}", f"{made.result.num_rounds} of {settings.num_rounds} rounds"]
    told.append(f"{settings.local_steps} steps a round, batches of {_or_by_site(made, settings.batch_size)}")
    if settings.scheme.is_split:
        head = ", head and labels at the sites" if settings.is_u_shaped else ""
        joined = "handed on, not averaged" if settings.scheme.is_relay else f"averaged by {settings.aggregation}"
        told.append(f"cut after layer {_or_by_site(made, settings.cut_layer)}{head}, {joined}")
    stays = " throughout" if settings.optimiser.schedule == "constant" else ""
    return ", ".join([*told, f"learning rate {settings.optimiser.learning_rate:g}{stays}, seed {settings.seed}"])


def _sites(made: Made) -> str:
    corpus, held = made.prepared.corpus, len(made.prepared.validation)
    rows = sum(len(site.examples) for site in corpus.sites)
    told = f"{rows} rows learnt from ({_by_site({s.name: len(s.examples) for s in corpus.sites})}), {held} held out"
    if corpus.num_too_long:
        told += f", {corpus.num_too_long} left out as too long"
    return f"{told}; refused: {', '.join(corpus.refused)}" if corpus.refused else told


def _losses(made: Made) -> str:
    told, course = [], made.losses
    if course.start is not None and course.end is not None:
        told.append(f"{course.start:.4f} before and {course.end:.4f} after, on some of the rows learnt from")
    if course.warning:
        told.append(f"**{course.warning}**")
    if made.result.evaluations:
        last = made.result.evaluations[-1][1]
        told.append(f"{last.loss:.4f} on the rows held out, of whose tokens {last.accuracy:.1%} are predicted exactly")
    return "; ".join(told) or "not measured"


def _or_by_site(made: Made, value: int | Mapping[str, int]) -> str:
    """One number, or one for each site that took part in the run."""
    if isinstance(value, int):
        return str(value)
    return f"({_by_site({site.name: value[site.name] for site in made.prepared.corpus.sites})})"


def _by_site(values: Mapping[str, int]) -> str:
    return ", ".join(f"{site} {value}" for site, value in values.items())

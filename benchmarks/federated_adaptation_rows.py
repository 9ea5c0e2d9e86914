"""The ways to adapt the base in federated_adaptation.py, each with the same steps on the same corpora."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfl_privacy import token_recovery
from transformers import AutoTokenizer

from sfl_finetune.adapter_folder import base_digest, save_adapter
from sfl_finetune.aggregation import fedavg
from sfl_finetune.anatomy import anatomy
from sfl_finetune.corpus import Site, read_corpus
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.lora import LoraSettings, load_state, trainable_state
from sfl_finetune.memory import StepShape, measure_client, measure_whole
from sfl_finetune.optimisation import OptimiserSettings
from sfl_finetune.recipes import load_causal_lm, prepare_causal_lm
from sfl_finetune.schemes import scheme_named
from sfl_finetune.whole import WholeModel

Row = dict[str, Any]
Save = Callable[[Path], None]

_CUT, _RANK, _BATCH = 1, 32, 16
_RATE = 2e-3
_MOST_TOKENS = 1024
_MIB = 2**20
_SHAPE = StepShape(batch_size=_BATCH, num_tokens=224)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all rows share."""

    model: Path
    corpus: Path
    num_rounds: int
    local_steps: int
    seed: int

    def settings(self, scheme: str, *, local_steps: int, is_u_shaped: bool = False) -> FederationSettings:
        """The federation's settings."""
        return FederationSettings(
            task="causal_lm",
            scheme=scheme_named(scheme),
            cut_layer=_CUT,
            local_steps=local_steps,
            num_rounds=self.num_rounds,
            batch_size=_BATCH,
            optimiser=OptimiserSettings(learning_rate=_RATE),
            is_u_shaped=is_u_shaped,
            seed=self.seed,
        )

    def federation(self, scheme: str, *, site: str | None = None, is_u_shaped: bool = False) -> Federation:
        """All sites' federation, or one with a single site."""
        settings = self.settings(scheme, local_steps=self.local_steps, is_u_shaped=is_u_shaped)
        prepared = prepare_causal_lm(self.model, self.corpus, settings, LoraSettings(rank=_RANK), device="cpu")
        if site is None:
            return prepared.federation
        model = load_causal_lm(self.model)
        config = LoraSettings(rank=_RANK).config("causal_lm", model, anatomy(model))
        config.base_model_name_or_path = str(self.model)
        return Federation(model, config, [s for s in prepared.corpus.sites if s.name == site], settings)

    def sites(self) -> Sequence[Site]:
        """All sites' texts."""
        tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=True)
        return read_corpus(self.corpus, tokenizer, max_tokens=_MOST_TOKENS).sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What a row came to."""

    for_all: Save | None = None
    """Writes the adapter of every site that has none of its own; None: the base alone."""
    by_site: Mapping[str, Save] = field(default_factory=dict)
    costs: Row = field(default_factory=dict)


def base(recipe: Recipe) -> Adapted:
    """Nothing is learned from any site."""
    del recipe
    return Adapted()


def local_only(recipe: Recipe) -> Adapted:
    """Each site adapts the whole model alone."""
    found = {site.name: _trained(recipe, "centralised", site=site.name) for site in recipe.sites()}
    return Adapted(
        by_site={name: _saver(recipe, federation) for name, federation in found.items()},
        costs={"client_mib": _whole_mib(next(iter(found.values()))), "megabytes": 0.0},
    )


def central(recipe: Recipe) -> Adapted:
    """All texts in one place: what the others are held against."""
    federation = _trained(recipe, "centralised")
    corpus_bytes = sum(path.stat().st_size for path in recipe.corpus.glob("*.jsonl"))
    return Adapted(
        for_all=_saver(recipe, federation), costs={"client_mib": 0.0, "megabytes": round(corpus_bytes / 1e6, 1)}
    )


def federated_lora(recipe: Recipe) -> Adapted:
    """Each site trains the whole model's adapter; the adapters are averaged each round (FedAvg)."""
    federation = recipe.federation("centralised")
    model, state = federation.model, federation.state
    settings = federation.settings
    names = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    parties = [
        WholeModel(model, [site], settings.task, settings.batch_size, settings.optimiser, settings.seed)
        for site in recipe.sites()
    ]
    num_steps = recipe.num_rounds * recipe.local_steps
    for round_ in range(recipe.num_rounds):
        found, weights = [], []
        for party in parties:
            load_state(names, names.values(), state)
            targets = 0
            for step in range(round_ * recipe.local_steps, (round_ + 1) * recipe.local_steps):
                targets += party.step(step, settings.optimiser.rate_at(step, num_steps))[1]
            found.append(trainable_state(model))
            weights.append(float(targets))
        state = fedavg(found, weights)
    federation.state = state
    adapter_bytes = sum(4 * value.numel() for value in state.values())
    return Adapted(
        for_all=_saver(recipe, federation),
        costs={
            "client_mib": _whole_mib(federation),
            "megabytes": round(2 * adapter_bytes * len(parties) * recipe.num_rounds / 1e6, 1),
        },
    )


def sfl(recipe: Recipe) -> Adapted:
    """Split at the first layer, U-shaped: the labels, which are the policies, stay at the site."""
    federation = recipe.federation("lean", is_u_shaped=True)
    sent = 0
    for round_ in range(recipe.num_rounds):
        report = federation.run_round(round_)
        sent += report.uplink_bytes + report.downlink_bytes
    adapter_bytes = sum(4 * sum(weight.numel() for weight in client.adapter) for client in federation.clients.values())
    scheme = federation.settings.scheme
    memory = measure_client(federation.model, federation.parts, _CUT, scheme, _SHAPE)
    federation.publish()
    return Adapted(
        for_all=_saver(recipe, federation),
        costs={
            "client_mib": round(memory.total / _MIB, 1),
            "megabytes": round((sent + 2 * adapter_bytes * recipe.num_rounds) / 1e6, 1),
            "tokens_recovered": _recovered(federation, recipe),
        },
    )


ROWS: dict[str, Callable[[Recipe], Adapted]] = {
    "base": base,
    "local only": local_only,
    "federated LoRA": federated_lora,
    "sfl": sfl,
    "central": central,
}


def _trained(recipe: Recipe, scheme: str, *, site: str | None = None) -> Federation:
    federation = recipe.federation(scheme, site=site)
    for round_ in range(recipe.num_rounds):
        federation.run_round(round_)
    return federation


def _saver(recipe: Recipe, federation: Federation) -> Save:
    def save(folder: Path) -> None:
        federation.publish()
        save_adapter(federation.tuned, folder, base=base_digest(load_causal_lm(recipe.model)))

    return save


def _whole_mib(federation: Federation) -> float:
    return round(measure_whole(federation.model, _SHAPE).total / _MIB, 1)


def _recovered(federation: Federation, recipe: Recipe) -> float:
    """Share of a site's tokens that a linear probe, fitted on the others', names from what crosses the link."""
    sites = recipe.sites()
    known = [example for site in sites[1:] for example in site.examples[:60]]
    segment = next(iter(federation.clients.values())).segment
    words = federation.model.get_input_embeddings().weight.detach().clone()
    codec = federation.settings.scheme.wire
    return round(token_recovery(segment, known, sites[0].examples[:60], words, codec=codec, task="causal_lm"), 4)

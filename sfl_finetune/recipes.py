"""Ready-made runs: one function per thing people want to do."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from math import floor
from typing import TYPE_CHECKING, Any

from sfl_finetune.adapter_folder import base_digest, largest_rank, read_adapter
from sfl_finetune.anatomy import anatomy
from sfl_finetune.at_hand import folder_of, most_tokens
from sfl_finetune.corpus import Corpus, Example, Site, read_corpus
from sfl_finetune.errors import ModelUnsupported, SettingInvalid
from sfl_finetune.federation import Federation
from sfl_finetune.federation_settings import FederationSettings
from sfl_finetune.lora import LoraSettings, check_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedModel

    from sfl_finetune.devices import Channel, Device
    from sfl_finetune.faults import Fault
    from sfl_finetune.workload import StepWork

_DEFAULT_MAX_TOKENS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A federation ready to run."""

    federation: Federation
    corpus: Corpus
    """Without the texts held out."""
    validation: tuple[Example, ...]
    base: str
    """Digest of the plain base, to be kept beside the adapter."""


def prepare_causal_lm(
    model_folder: str | Path,
    corpus_folder: Path,
    settings: FederationSettings,
    lora: LoraSettings,
    *,
    max_tokens: int | None = None,
    validation_share: float = 0.0,
    device: str = "auto",
    start_from: Path | None = None,
    faults: Sequence[Fault] = (),
    finish_seconds: Callable[[int, Sequence[str]], Mapping[str, float]] | None = None,
) -> Prepared:
    """Fine-tuning of any causal LM on prompt-completion sites; `validation_share` of each site's texts is held out.

    `start_from` is an adapter folder to go on from; its configuration then takes the place of `lora`.
    """
    if not 0.0 <= validation_share < 1.0:
        raise SettingInvalid(
            f"validation_share={validation_share} is out of range; allowed: 0 up to but not including 1"
        )
    place = pick_device(device)
    model = load_causal_lm(model_folder)
    tokenizer = _load_tokenizer(model_folder)
    corpus = read_corpus(corpus_folder, tokenizer, max_tokens=_longest(model.config, max_tokens))
    _check_vocabulary(corpus, model)
    sites, validation = _hold_out(corpus.sites, validation_share)
    base = base_digest(model)
    weights = None
    if start_from is None:
        adapter = lora.config("causal_lm", model, anatomy(model))
    else:
        adapter, weights = read_adapter(start_from, base=base, model_name=str(model_folder))
        check_rank(largest_rank(adapter), model, anatomy(model))
    adapter.base_model_name_or_path = str(model_folder)
    model = model.to(place)
    federation = Federation(
        model, adapter, sites, settings, start=weights, faults=faults, finish_seconds=finish_seconds
    )
    return Prepared(federation=federation, corpus=replace(corpus, sites=sites), validation=validation, base=base)


def site_clock(
    model_folder: str | Path,
    site_devices: Mapping[str, Device],
    settings: FederationSettings,
    lora: LoraSettings,
    *,
    num_tokens: int,
    server: Device,
    channel: Channel,
) -> Callable[[int, Sequence[str]], Mapping[str, float]]:
    """When each site would finish a round on the virtual clock, given its device and texts of `num_tokens`."""
    from sfl_finetune.clock import Party, finish_seconds
    from sfl_finetune.memory import StepShape
    from sfl_finetune.workload import count_step, shape_only_model

    model, parts = shape_only_model(read_config(model_folder), "causal_lm", lora)

    @cache
    def work(cut: int, batch: int) -> StepWork:
        shape = StepShape(batch_size=batch, num_tokens=num_tokens)
        return count_step(model, parts, cut, settings.scheme, shape, is_u_shaped=settings.is_u_shaped)

    def finish(_: int, names: Sequence[str]) -> Mapping[str, float]:
        unknown = [name for name in names if name not in site_devices]
        if unknown:
            raise SettingInvalid(f"no device is given for site {unknown[0]!r}; given: {', '.join(site_devices)}")
        parties = [
            Party(name=n, device=site_devices[n], work=work(settings.cut_of(n), settings.batch_of(n))) for n in names
        ]
        return finish_seconds(parties, server, channel, settings.scheme, local_steps=settings.local_steps)

    return finish


def read_config(folder: str | Path) -> PretrainedConfig:
    """The model's sizes, without its weights."""
    from transformers import AutoConfig

    folder_of(folder)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelUnsupported(
            f"{str(folder)!r} holds no readable config.json: {str(error).splitlines()[0]}"
        ) from error
    return config


def load_causal_lm(folder: str | Path) -> PreTrainedModel:
    """The model in fp32, from a local folder or a name that is already in the local cache."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder_of(folder)
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelUnsupported(
            f"{str(folder)!r} can't be loaded as a causal language model: {str(error).splitlines()[0]}; "
            "give a folder with config.json and safetensors weights"
        ) from error


def _load_tokenizer(folder: str | Path) -> Any:
    from transformers import AutoTokenizer

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelUnsupported(f"{str(folder)!r} has no readable tokenizer: {str(error).splitlines()[0]}") from error


def pick_device(wanted: str) -> str:
    """`auto` becomes cuda where there is one; raises SettingInvalid for a device that is unknown or absent."""
    import torch

    cuda = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    allowed = ("auto", "cpu", *(("cuda",) if cuda else ()), *(f"cuda:{number}" for number in cuda))
    if wanted not in allowed:
        raise SettingInvalid(f"device {wanted!r} is not available; allowed here: {', '.join(allowed)}")
    if wanted != "auto":
        return wanted
    return "cuda" if cuda else "cpu"


def _longest(config: PretrainedConfig, wanted: int | None) -> int:
    """Tokens a text may have: as many as wanted, else 1,024, and no more than the model takes."""
    return min(wanted or _DEFAULT_MAX_TOKENS, most_tokens(config))


def _check_vocabulary(corpus: Corpus, model: PreTrainedModel) -> None:
    largest = max(max(example.token_ids) for site in corpus.sites for example in site.examples)
    if largest >= model.config.vocab_size:
        raise ModelUnsupported(f"the tokenizer gives id {largest}, the model knows ids below {model.config.vocab_size}")


def _hold_out(sites: tuple[Site, ...], share: float) -> tuple[tuple[Site, ...], tuple[Example, ...]]:
    """That share of each site's texts, rounded down, goes to validation: evenly spread, so that no chance is in it."""
    # As it was written: 100 * 0.29 is below 29.
    exact = Fraction(str(share))
    kept: list[Site] = []
    held: list[Example] = []
    for site in sites:
        rest: list[Example] = []
        for index, example in enumerate(site.examples):
            is_held = floor((index + 1) * exact) > floor(index * exact)
            (held if is_held else rest).append(example)
        kept.append(Site(name=site.name, examples=tuple(rest)))
    return tuple(kept), tuple(held)

"""From nothing to the shipped weights, in stages that can be interrupted and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from agent.models.local import LocalModel
from agent.models.port import PolicyModel
from agent.pretraining.corpus import read_examples
from agent.pretraining.examples import Example
from agent.pretraining.new_model import ModelSize, new_model
from agent.pretraining.tokenizer import END, PAD, save_tokenizer, train_tokenizer
from agent.pretraining.training import Progress, TrainingPlan, encode_examples, share_labels, train

_TOKENIZER_SAMPLE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stretch of training on one corpus."""

    name: str
    corpus: Path
    plan: TrainingPlan
    rehearsed: Path | None = None
    """Corpus whose first `num_rehearsed` rows are mixed in."""
    num_rehearsed: int = 0
    write_corpus: Callable[[PolicyModel], None] | None = None
    """Writes the corpus with the help of the model so far; None where it exists before the training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a stage ended with."""

    name: str
    num_examples: int
    num_steps: int
    loss: float | None
    """Mean of the last 100 steps; None where the stage was done already and its checkpoint kept none."""


def train_stages(
    stages: Sequence[Stage],
    *,
    size: ModelSize,
    seed: int,
    work: Path,
    on_step: Callable[[str, Progress], None] = lambda _name, _progress: None,
) -> tuple[LlamaForCausalLM, Tokenizer, tuple[StageResult, ...]]:
    """Run the stages one after another, each resumed from its own folder under `work`."""
    tokenizer = _tokenizer(stages, work)
    model = new_model(tokenizer, size, seed=seed)
    results = []
    for stage in stages:
        if stage.write_corpus is not None and not stage.corpus.exists():
            stage.write_corpus(LocalModel(model, _reader(work), name=stage.name))
        examples = _examples(stage)
        rows = encode_examples(examples, tokenizer)

        def report(progress: Progress, name: str = stage.name) -> None:
            on_step(name, progress)

        labels = share_labels(tokenizer, stage.plan.number_spread) if stage.plan.number_spread > 0 else None
        loss = train(model, rows, stage.plan, labels=labels, folder=work / stage.name, on_step=report)
        results.append(
            StageResult(name=stage.name, num_examples=len(examples), num_steps=stage.plan.num_steps, loss=loss)
        )
    return model, tokenizer, tuple(results)


def export(
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    results: Sequence[StageResult],
    folder: Path,
    *,
    facts: dict[str, object],
) -> None:
    """Write bf16 safetensors, tokenizer and the training record, loadable with `from_pretrained`."""
    save_tokenizer(tokenizer, folder)
    model.to(torch.bfloat16).save_pretrained(str(folder))
    record = {"stages": [asdict(result) for result in results], **facts}
    (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def _examples(stage: Stage) -> tuple[Example, ...]:
    if stage.rehearsed is None:
        return read_examples(stage.corpus)
    return read_examples(stage.corpus) + read_examples(stage.rehearsed)[: stage.num_rehearsed]


def _reader(work: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(work / "tokenizer.json"), eos_token=END, pad_token=PAD)


def _tokenizer(stages: Sequence[Stage], work: Path) -> Tokenizer:
    saved = work / "tokenizer.json"
    if saved.exists():
        return Tokenizer.from_file(str(saved))
    sample = read_examples(stages[0].corpus)[:_TOKENIZER_SAMPLE]
    tokenizer = train_tokenizer(example.prompt + example.completion for example in sample)
    save_tokenizer(tokenizer, work)
    return tokenizer

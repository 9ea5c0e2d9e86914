"""Prompt-completion rows on disk: one JSON object a line, the same form that `edgewright finetune` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from agent.errors import AgentInputInvalid
from agent.pretraining.examples import DrawTerms, Example, random_example, random_terms


def random_examples(num_examples: int, *, seed: int, draw_terms: DrawTerms = random_terms) -> Iterator[Example]:
    """Synthetic examples; the same seed gives the same rows."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    for _ in range(num_examples):
        yield random_example(rng, draw_terms)


def write_examples(examples: Iterable[Example], path: Path) -> int:
    """Write rows and return how many; the file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".part")
    count = 0
    with partial.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps({"prompt": example.prompt, "completion": example.completion}) + "\n")
            count += 1
    partial.replace(path)
    return count


def read_examples(path: Path) -> tuple[Example, ...]:
    """Read rows; raises AgentInputInvalid with the line that can't be read."""
    examples = []
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                row = json.loads(line)
                if not isinstance(row, dict) or not all(isinstance(row.get(k), str) for k in ("prompt", "completion")):
                    raise AgentInputInvalid(f"{path}:{number}: expected {{'prompt': str, 'completion': str}}")
                examples.append(Example(prompt=row["prompt"], completion=row["completion"]))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AgentInputInvalid(f"{path}:{number}: not a corpus of JSON lines ({error})") from error
    if not examples:
        raise AgentInputInvalid(f"{path}: holds no rows; at least one is needed")
    return tuple(examples)
